local epoch, field, value = tonumber(ARGV[5]), ARGV[7], ARGV[8]
local r, prior = own(epoch)
if prior > epoch then
    return brief('fenced', r)
end
-- Where the store lost the lease, nobody else may begin while the effect is under way; the next
-- put says how long for sure.
if prior < epoch then
    lease(r, 10000)
end
set(r, 'n:' .. field, value)
save()
return brief('ok', r)
