local epoch, ms, has_text, text = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7] == '1', ARGV[8]
local r, prior = own(epoch)
if prior > epoch then
    return brief('fenced', r)
end
if r.state == 'final' and r.by == 'worker' then
    -- Whoever ended it keeps the lease for what it owes; the answer names the epoch that did.
    if prior == epoch and r.owed ~= '' then
        lease(r, ms)
        save()
    end
    r.epoch = prior
    return brief('final', r)
end
lease(r, ms)
save()
if r.state == 'final' then
    return brief('closed', r)
end
if has_text then
    redis.call('SET', T, text, 'PX', TTL)
end
return brief('ok', r)
