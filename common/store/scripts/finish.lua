local epoch, reason, text, extras, owed, ms =
    tonumber(ARGV[5]), ARGV[7], ARGV[8], ARGV[9], ARGV[10], tonumber(ARGV[11])
local r, prior = own(epoch)
if prior > epoch then
    return brief('fenced', r)
end
if r.state == 'final' and r.by == 'ingress' then
    lease(r, ms)
    save()
    return brief('closed', r)
end
if r.state == 'final' then
    if prior == epoch and r.owed ~= '' then
        lease(r, ms)
        save()
    end
    return brief(prior == epoch and 'ok' or 'final', r)
end
set(r, 'state', 'final')
set(r, 'by', 'worker')
set(r, 'reason', reason)
set(r, 'owed', owed)
if owed == '' then
    unlease(r)
else
    lease(r, ms)
end
if extras ~= '' then
    set(r, 'x', '1')
    redis.call('SET', X, extras, 'PX', final_ttl())
end
save()
redis.call('SET', T, text, 'PX', final_ttl())
return brief('ok', r)
