local epoch, item = tonumber(ARGV[5]), ARGV[7]
local none = unclaimed()
if none then
    return none
end
local r, prior = own(epoch)
if prior > epoch then
    return brief('fenced', r)
end
disown(r, item)
save()
return brief('ok', r)
