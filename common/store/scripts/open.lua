local as, text = ARGV[5], ARGV[6]
local r = record()
if not r then
    r = fresh(as)
    save()
elseif r.state == 'unknown' and as == 'open' then
    identify(r)
    set(r, 'state', 'open')
    save()
end
if text and r.state == 'open' then -- whoever claims it takes this for what it is
    if text == '' then
        redis.call('DEL', T)
    else
        redis.call('SET', T, text, 'PX', TTL)
    end
end
return whole('ok', r)
