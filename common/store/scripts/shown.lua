local r = record()
if not r then
    return {'ok', 'missing'}
end
if r.state == 'final' and r.shown_at == '' then
    set(r, 'shown_at', int(NOW))
    disown(r, 'shown')
    redis.call('HSET', M, unpack(changes))
end
return brief('ok', r)
