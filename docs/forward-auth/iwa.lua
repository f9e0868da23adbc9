-- Asks iwa whether a request may go on: `http-request lua.iwa http://127.0.0.1:8080`, where iwa is at that address.
-- Only if it may, txn.iwa_go is true: haproxy lets a request go on whose action failed, so the configuration must look at it.

-- What iwa may see of the client's own headers. A rule of iwa that looks at another needs it here.
local passed = { "authorization", "cookie", "user-agent", "accept", "accept-language", "referer", "x-requested-with" }

local function ask(txn, iwa)
    local fetch, headers, sent = txn.f, {}, txn.http:req_get_headers()
    for _, name in ipairs(passed) do
        if sent[name] then
            local values = {}
            for i = 0, #sent[name] do
                values[#values + 1] = sent[name][i]
            end
            headers[name] = values
        end
    end
    headers["x-original-method"] = { fetch:method() }
    headers["x-original-uri"] = { fetch:pathq() }
    headers["x-original-host"] = { fetch:req_hdr("host") or "" }
    headers["x-original-proto"] = { fetch:ssl_fc() == 1 and "https" or "http" }
    headers["x-original-addr"] = { fetch:src() }
    local connection = txn:get_var("txn.iwa_connection")
    if connection then
        headers["x-connection"] = { connection }
    end

    local answer = core.httpclient():get { url = iwa .. "/.iwa/auth/haproxy", headers = headers, timeout = 20000 }
    local lines = answer and answer.headers or {}
    -- A variable that is set to nil is 0, and 0 is somebody.
    local function keep(variable, name)
        if lines[name] then
            txn:set_var("txn." .. variable, lines[name][0])
        end
    end
    local status = answer and answer.status or 503
    if status == 200 then
        txn:set_var("txn.iwa_go", true)
        keep("iwa_user", "x-remote-user")
        keep("iwa_groups", "x-remote-groups")
        keep("iwa_authenticate", "www-authenticate")
        keep("iwa_persistent", "persistent-auth")
        keep("iwa_cookie", "set-cookie")
        return
    end
    -- Whatever else iwa says is for the client, with all its lines.
    local reply = txn:reply { status = status < 300 and 503 or status, body = answer and answer.body or "" }
    for name, values in pairs(lines) do
        if name ~= "content-length" and name ~= "connection" and name ~= "date" and name ~= "transfer-encoding" then
            for i = 0, #values do
                reply:add_header(name, values[i])
            end
        end
    end
    txn:done(reply)
end

core.register_action("iwa", { "http-req" }, ask, 1)
