local reason = ARGV[5]
local r = record()
if r and r.state == 'final' then
    if r.by ~= 'ingress' then
        return whole('final', r)
    end
    return whole(r.reason == reason and 'ok' or 'closed', r)
end
-- What a worker had was durable, so it was not refused and is not lost, whether its lease lives
-- or not. What an ingress accepted meanwhile is not lost either.
local is_had = r and r.state == 'run'
if is_had and (reason == 'busy' or reason == 'lost') or
    r and r.state == 'open' and reason == 'lost' then
    return whole('held', r)
end
r = r or fresh('final')
set(r, 'state', 'final')
set(r, 'by', 'ingress')
set(r, 'reason', reason)
save()
redis.call('PEXPIRE', T, final_ttl())
return whole('ok', r)
