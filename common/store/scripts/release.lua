local epoch = tonumber(ARGV[5])
local none = unclaimed()
if none then
    return none
end
local r, prior = own(epoch)
if prior > epoch then
    return brief('fenced', r)
end
-- An orderly hand-over is no failed start; a repeat finds no owner and counts nothing.
if r.state == 'run' and r.owner ~= '' then
    set(r, 'starts', int(math.max((tonumber(r.starts) or 1) - 1, 0)))
end
unlease(r)
save()
return brief('ok', r)
