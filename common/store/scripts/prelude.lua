-- Shared by all scripts; ../README.md tells the states and who may change them.
-- KEYS are the stream's hash, text and extras. ARGV begins with what a missing record is made
-- from: bot, start, deadline, TTL; each script's own arguments follow, and those of owners begin
-- with who it is and the number of its connection.
local M, T, X = KEYS[1], KEYS[2], KEYS[3]
local BOT, START, DEADLINE, TTL = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local LINK = tonumber(ARGV[6])

local clock = redis.call('TIME')
local US = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local NOW = math.floor(US / 1000)

local FIELDS = {'bot', 'state', 'reason', 'by', 'epoch', 'owner', 'lease_until', 'start_at',
    'deadline_at', 'starts', 'shown_at', 'owed', 'x', 'was', 'link'}

-- Lua's own conversion keeps 14 digits; an epoch has 16.
local function int(n)
    return string.format('%.0f', n)
end

local function blank()
    local r = {}
    for _, field in ipairs(FIELDS) do
        r[field] = ''
    end
    r.epoch, r.lease_until, r.link = 0, 0, 0
    return r
end

local function record()
    local v = redis.call('HMGET', M, unpack(FIELDS))
    if not v[2] then
        return nil
    end
    local r = {}
    for i, field in ipairs(FIELDS) do
        r[field] = v[i] or ''
    end
    r.epoch = tonumber(r.epoch) or 0
    r.lease_until = tonumber(r.lease_until) or 0
    r.link = tonumber(r.link) or 0
    return r
end

-- Of a record's fields only epoch, lease_until and link are numbers, all others are what was
-- stored.
local changes = {}
local function set(r, field, value)
    r[field] = value
    changes[#changes + 1] = field
    changes[#changes + 1] = type(value) == 'number' and int(value) or value
end

local function save()
    if #changes > 0 then
        redis.call('HSET', M, unpack(changes))
    end
    redis.call('PEXPIRE', M, TTL)
end

local function identify(r)
    set(r, 'bot', BOT)
    set(r, 'start_at', START)
    set(r, 'deadline_at', DEADLINE)
end

-- A record never begins with the text of an earlier one.
local function fresh(state)
    redis.call('DEL', T, X)
    local r = blank()
    identify(r)
    set(r, 'state', state)
    return r
end

-- The record as a worker's write of `epoch` finds it, and the epoch it had. The second is larger
-- than `epoch` when the writer is fenced, and then nothing is changed. Otherwise the record is
-- what the writer may change further and save: a worker had this stream, so it runs, also where
-- the store lost it, and a claim that a failover lost is made good.
--
-- Where the store lost the record (one without an epoch was made by an ingress since), several
-- may believe that it is theirs, and which claim was the newest is not known any more. The first
-- to write gets an epoch above all of them, so that their texts do not take turns; `was` is the
-- epoch under which it goes on writing.
--
-- `link` is the number of the connection that the owner wrote through last. A call that comes
-- through an earlier one was given up, and repeated since (a frozen server had it in its buffer):
-- it is fenced like a foreign one.
local function own(epoch)
    local r = record()
    local prior = r and r.epoch or 0
    if r and r.was == ARGV[5] then
        prior = epoch
    end
    if prior == epoch and LINK < r.link then
        prior = math.huge
    end
    if prior > epoch then
        return r, prior
    end
    r = r or fresh('run')
    if prior == 0 then
        set(r, 'epoch', math.max(epoch, US))
        set(r, 'was', ARGV[5])
    elseif prior < epoch then
        set(r, 'epoch', epoch)
        set(r, 'was', '')
        set(r, 'owner', '')
    end
    if r.state == 'unknown' then
        identify(r)
    end
    if r.state ~= 'final' then
        set(r, 'state', 'run')
    end
    if r.starts == '' then
        set(r, 'starts', '1')
    end
    set(r, 'link', LINK)
    return r, prior
end

local function lease(r, ms)
    set(r, 'lease_until', NOW + ms)
end

local function unlease(r)
    set(r, 'owner', '')
    set(r, 'lease_until', 0)
end

-- The text of a final stream is kept this long for further polls.
local function final_ttl()
    return int(math.min(1800000, tonumber(TTL)))
end

local function disown(r, item)
    local kept = {}
    for owed in string.gmatch(r.owed, '[^,]+') do
        if owed ~= item then
            kept[#kept + 1] = owed
        end
    end
    set(r, 'owed', table.concat(kept, ','))
    if r.state == 'final' and r.owed == '' then
        unlease(r)
    end
end

local function brief(verdict, r)
    return {verdict, r.state, r.reason, r.by, r.bot, r.start_at, r.deadline_at, r.shown_at,
        int(r.epoch), int(r.lease_until), r.starts, r.owed}
end

-- The answer where no claim is known: there is nothing to settle or to give up, and who only
-- leaves must not fence one that goes on.
local function unclaimed()
    local r = record()
    if not r then
        return {'ok', 'missing'}
    end
    return r.epoch == 0 and brief('ok', r)
end

local function whole(verdict, r)
    local answer = brief(verdict, r)
    answer[13] = redis.call('GET', T) or ''
    answer[14] = r.state == 'final' and r.x ~= '' and redis.call('GET', X) or ''
    return answer
end
