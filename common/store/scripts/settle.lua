local epoch, item = tonumber(ARGV[5]), ARGV[6]
local r, prior = own(epoch)
if prior > epoch then
    return brief('fenced', r)
end
disown(r, item)
save()
return brief('ok', r)
