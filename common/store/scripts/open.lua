local as = ARGV[5]
local r = record()
if not r then
    r = fresh(as)
    save()
elseif r.state == 'unknown' and as == 'open' then
    identify(r)
    set(r, 'state', 'open')
    save()
end
return whole('ok', r)
