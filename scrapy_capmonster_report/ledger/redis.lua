-- All that a Redis ledger does, each call as a whole.
--
-- KEYS[1]: what our keys begin with. ARGV[1]: the name of a function below. ARGV[2]: its
-- arguments, as JSON. Numbers come as strings: those of Lua are not exact enough for ids.
--
-- task:ID      hash: first (attempt), attempt (of the verdict), status, state ("pending",
--              "finished"), counted (what the totals say of the task)
-- pending      hash: ID -> the claim as JSON
-- owners       hash: ID -> the run that holds the claim; none: it was released
-- alive:RUN    there as long as the run is heard of: the number of its call that made it
-- periods:DAY, hours:DAY    hashes: the members of a Count as JSON -> how many tasks
-- alerts       list: each as JSON

local prefix, arguments = KEYS[1], cjson.decode(ARGV[2])
local pending, owners = prefix .. 'pending', prefix .. 'owners'
local keep, run = arguments.keep, arguments.run

-- A submission is {id, attempt, site, spider, type, age, at}.
local function add(seen, rule, status, code, tasks)
    local at = tonumber(seen[7])
    local day = math.floor(at / 86400)
    for kind, seconds in pairs({periods = 300, hours = 3600}) do
        local key = prefix .. kind .. ':' .. day
        local start = string.format('%d', math.floor(at / seconds) * seconds)
        local count = {start, seen[3], seen[4], seen[5], seen[6], rule, status, code}
        redis.call('HINCRBY', key, cjson.encode(count), tasks)
        redis.call('EXPIRE', key, keep[kind])
    end
end

local function set_status(task, seen, rule, status, code)
    local counted = redis.call('HGET', task, 'counted')
    if counted then
        local old = cjson.decode(counted)
        add(old[1], old[2], old[3], old[4], -1)
    end
    counted = cjson.encode({seen, rule, status, code})
    redis.call('HSET', task, 'counted', counted, 'status', status)
    redis.call('EXPIRE', task, keep.tasks)
    add(seen, rule, status, code, 1)
end

-- Each takes the event as JSON, and then its members.
local events = {}

function events.Sent(_, id, attempt)
    local task = prefix .. 'task:' .. id
    redis.call('HSETNX', task, 'first', attempt)
    redis.call('EXPIRE', task, keep.tasks)
end

function events.NotSent(_, id, attempt)
    local task = prefix .. 'task:' .. id
    if redis.call('HGET', task, 'first') == attempt then redis.call('HDEL', task, 'first') end
end

-- The first verdict on a task is final, except that reject() may overrule "passed" of the same
-- attempt, and that a claim may follow on a report that was withheld.
function events.Judged(text, seen, rule, status)
    if status == 'passed' then events.Sent(text, seen[1], seen[2]) end
    local task = prefix .. 'task:' .. seen[1]
    local old = redis.call('HGET', task, 'status')
    local is_same = redis.call('HGET', task, 'attempt') == seen[2]
    if not old or (old == 'passed' and status ~= 'passed' and is_same) then
        redis.call('HSET', task, 'attempt', seen[2])
        set_status(task, seen, rule, status, '')
    end
end

function events.Claimed(text, seen, rule)
    local id, attempt = seen[1], seen[2]
    local task = prefix .. 'task:' .. id
    local state = redis.call('HGET', task, 'state')
    if state then
        local is_same = redis.call('HGET', task, 'attempt') == attempt
        local is_ours = redis.call('HGET', owners, id) == run
        return state == 'pending' and is_ours and is_same and '' or 'withheld/duplicate'
    end
    local first = redis.call('HGET', task, 'first')
    if first and first ~= attempt and not arguments.report_reused then return 'withheld/reused' end
    events.Sent(text, id, attempt)
    redis.call('HSET', task, 'state', 'pending', 'attempt', attempt)
    redis.call('HSET', pending, id, text)
    redis.call('HSET', owners, id, run)
    set_status(task, seen, rule, 'pending', '')
end

function events.Finished(_, id, status, code)
    local task = prefix .. 'task:' .. id
    if redis.call('HGET', owners, id) ~= run then return end
    redis.call('HDEL', owners, id)
    if status == 'kept' then return end
    redis.call('HDEL', pending, id)
    redis.call('HSET', task, 'state', 'finished')
    redis.call('EXPIRE', task, keep.tasks)
    local counted = redis.call('HGET', task, 'counted')
    if counted then
        local old = cjson.decode(counted)
        set_status(task, old[1], old[2], status, code)
    end
end

function events.Alert(text)
    redis.call('RPUSH', prefix .. 'alerts', text)
    redis.call('LTRIM', prefix .. 'alerts', -keep.alerts, -1)
    redis.call('EXPIRE', prefix .. 'alerts', keep.hours)
end

local functions = {}

-- Returns which call of the run began to say so without a gap. Even if the answer to that call is
-- lost, the next one shows that there was a gap.
local function say_alive()
    local alive = prefix .. 'alive:' .. run
    redis.call('SET', alive, arguments.call, 'NX')
    redis.call('EXPIRE', alive, keep.alive)
    return redis.call('GET', alive)
end

function functions.write()
    local alive_since, replies = say_alive(), {}
    for n, event in ipairs(arguments.events) do
        local done, reply = pcall(events[event[1]], unpack(event, 2))
        if not done then -- another program has spoilt the key
            local id = type(event[3]) == 'table' and event[3][1] or event[3]
            redis.call('DEL', prefix .. 'task:' .. id)
            done, reply = pcall(events[event[1]], unpack(event, 2))
        end
        replies[n] = done and reply or ''
    end
    return {alive_since, replies}
end

function functions.recover()
    local alive_since = say_alive()
    local claims, is_alive, taken = redis.call('HGETALL', pending), {}, {}
    for i = 1, #claims, 2 do
        local id, text = claims[i], claims[i + 1]
        local owner = redis.call('HGET', owners, id)
        if owner and owner ~= run and is_alive[owner] == nil then
            is_alive[owner] = redis.call('EXISTS', prefix .. 'alive:' .. owner) == 1
        end
        local is_json, claim = pcall(cjson.decode, text)
        local is_claim = is_json and type(claim) == 'table' and type(claim[5]) == 'number'
        local may_take = not owner or not is_alive[owner]
        if owner == run then may_take = arguments.mine_too end
        if may_take and is_claim then -- else another program's
            redis.call('HSET', owners, id, run)
            table.insert(taken, text)
        end
    end
    return {alive_since, taken}
end

functions['end'] = function()
    redis.call('DEL', prefix .. 'alive:' .. run)
end

-- Added up here: a day may have very many totals, and a crawl would stop while it reads them.
function functions.sums()
    local function is_wanted(value, wanted) return wanted == cjson.null or value == wanted end
    local totals, sums = redis.call('HGETALL', prefix .. arguments.totals), {}
    for i = 1, #totals, 2 do
        local is_ours, count = pcall(cjson.decode, totals[i])
        local tasks = tonumber(totals[i + 1])
        if is_ours and type(count) == 'table' and #count == 8 and tasks and tasks > 0 then
            local start = tonumber(count[1])
            if start >= arguments.first and start < arguments.before
                    and is_wanted(count[2], arguments.site)
                    and is_wanted(count[3], arguments.spider) then
                local values = {}
                for n, position in ipairs(arguments.positions) do values[n] = count[position] end
                local key = cjson.encode(values)
                sums[key] = (sums[key] or 0) + tasks
            end
        end
    end
    local flat = {}
    for key, tasks in pairs(sums) do
        table.insert(flat, key)
        table.insert(flat, tasks)
    end
    return flat
end

return functions[ARGV[1]]()
