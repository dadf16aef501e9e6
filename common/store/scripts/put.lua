local epoch, ms, has_text, text = tonumber(ARGV[5]), tonumber(ARGV[7]), ARGV[8] == '1', ARGV[9]

-- Nearly every put is one of these, the owner's next text; what follows would do the same, for a third more.
local seen = redis.call('HMGET', M, 'epoch', 'state', 'start_at', 'deadline_at', 'starts', 'link')
if seen[1] == ARGV[5] and seen[6] == ARGV[6] and seen[2] == 'run' then
    redis.call('HSET', M, 'lease_until', int(NOW + ms))
    redis.call('PEXPIRE', M, TTL)
    if has_text then
        redis.call('SET', T, text, 'PX', TTL)
    end
    return {'ok', 'run', '', '', BOT, seen[3], seen[4], '', seen[1], int(NOW + ms), seen[5] or ''}
end

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
