-- Nearly every put is one of these, the owner's next text. What follows would do the same at twice
-- the price, half of which is making the prelude's functions.
do
    local call, M, TTL, EPOCH = redis.call, KEYS[1], ARGV[4], ARGV[5]
    local seen = call('HMGET', M, 'epoch', 'state', 'link', 'start_at', 'deadline_at', 'starts')
    if seen[1] == EPOCH and seen[2] == 'run' and seen[3] == ARGV[6] then
        local time = call('TIME')
        local lease = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[7])
        call('HSET', M, 'lease_until', lease)
        call('PEXPIRE', M, TTL)
        if ARGV[8] == '1' then
            call('SET', KEYS[2], ARGV[9], 'PX', TTL)
        end
        return {'ok', 'run', '', '', ARGV[1], seen[4], seen[5], '', EPOCH, lease, seen[6] or ''}
    end
end

--@prelude
local epoch, ms = tonumber(ARGV[5]), tonumber(ARGV[7])

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
if ARGV[8] == '1' then
    redis.call('SET', T, ARGV[9], 'PX', TTL)
end
return brief('ok', r)
