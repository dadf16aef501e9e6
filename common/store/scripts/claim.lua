local owner, ms = ARGV[5], tonumber(ARGV[7])
local r = record()
if r and r.state == 'final' and r.by == 'worker' and r.owed == '' then
    return whole('final', r)
end
local is_repeat = r and r.owner == owner
if r and not is_repeat and r.lease_until > NOW then
    return brief('held', r)
end
if not r then
    r = fresh('run')
elseif r.state == 'unknown' then
    identify(r)
end
if r.state ~= 'final' then
    set(r, 'state', 'run')
end
if not is_repeat then
    -- Never below the clock: after a store that lost its data, an old owner's epoch must lose.
    set(r, 'epoch', math.max(r.epoch + 1, US))
    set(r, 'was', '')
    set(r, 'owner', owner)
    set(r, 'starts', int((tonumber(r.starts) or 0) + 1))
end
set(r, 'link', is_repeat and math.max(r.link, LINK) or LINK)
lease(r, ms)
save()
local verdict = 'granted'
if r.state == 'final' then
    verdict = r.by == 'ingress' and 'closed' or 'final'
end
local answer = whole(verdict, r)
local notes, all = {}, redis.call('HGETALL', M)
for i = 1, #all, 2 do
    if string.sub(all[i], 1, 2) == 'n:' then
        notes[#notes + 1] = string.sub(all[i], 3) .. '=' .. all[i + 1] .. '\n'
    end
end
answer[15] = table.concat(notes)
return answer
