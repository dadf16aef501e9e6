-- wrk: plays back requests that were encrypted before, and prints what wrk counted as one JSON line.
--
--     wrk -t1 … -s replay.lua URL -- FILE [once]
--
-- FILE: a line is target, tab, body. Round and round; with `once` wrk stops at the end of the file,
-- because a repeat would not be the same work.
local next_request

local function formatted(line)
  local target, body = line:match("^(%S+)\t(.+)$")
  return wrk.format("POST", target, wrk.headers, body)
end

local function in_turn(file)
  local requests, i = {}, 0
  for line in file:lines() do
    requests[#requests + 1] = formatted(line)
  end
  return function()
    i = i % #requests + 1
    return requests[i]
  end
end

local function to_the_end(file)
  local last
  return function()
    local line = file:read("*l")
    if line then
      last = formatted(line)
    else
      exhausted = true
      wrk.thread:stop()
    end
    return last
  end
end

local threads = {}
function setup(thread)
  threads[#threads + 1] = thread
end

function init(args)
  wrk.headers["Content-Type"] = "application/json"
  local file = assert(io.open(args[1]))
  next_request = args[2] == "once" and to_the_end(file) or in_turn(file)
end

function request()
  return next_request()
end

function done(summary, latency)
  local e = summary.errors
  local ended = false
  for _, thread in ipairs(threads) do
    ended = ended or thread:get("exhausted") or false
  end
  io.write(string.format(
    '{"requests":%d,"seconds":%.6f,"bytes":%d,"p50_us":%d,"p99_us":%d,"not_2xx":%d,"errors":%d,"exhausted":%s}\n',
    summary.requests, summary.duration / 1e6, summary.bytes, latency:percentile(50), latency:percentile(99),
    e.status, e.connect + e.read + e.write + e.timeout, tostring(ended)))
end
