#include "lib/policy/pac.h"
#include "lib/policy/decide.h"
#include "lib/policy/index_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define HASH_HEX 64

const char *pac_setting(const struct ulid *link, char *dst)
{
    memcpy(dst, "pac-", 4);
    for (size_t i = 0; i < ULID_LEN; i++) {
        char c = link->text[i];

        dst[4 + i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    }
    dst[4 + ULID_LEN] = '\0';
    return dst;
}

void pac_setting_value(struct span hash, const struct ulid *user, int64_t expires_ms, struct buf *out)
{
    buf_printf(out, SPAN_FMT " %s %lld", SPAN_ARG(hash), user->text, (long long)expires_ms);
}

enum reason pac_link_user(const struct policy *p, const struct ulid *link, struct span hash, int64_t now_ms,
                          struct ulid *ret_user)
{
    char name[PAC_SETTING_MAX];
    struct span rest = policy_setting(p, pac_setting(link, name)), kept, id;
    const struct user_record *user;
    uint64_t expires_ms;

    if (!span_cut(&rest, ' ', &kept) || kept.n != HASH_HEX || !span_eq_secret(kept, hash))
        return REASON_AUTH_FAILED;
    if (!span_cut(&rest, ' ', &id) || !ulid_parse(id, ret_user) || !span_to_u64(rest, INT64_MAX, &expires_ms))
        return REASON_AUTH_FAILED;
    if (expires_ms && (int64_t)expires_ms <= now_ms)
        return REASON_CREDENTIAL_EXPIRED;
    user = policy_user(p, ret_user);
    if (!user)
        return REASON_AUTH_FAILED;
    return user->is_active ? policy_user_admitted(p, ret_user, now_ms) : REASON_USER_DISABLED;
}

/* ---- the script ---- */

/* Works on words of 16 bits: IPv4 stands in the last two behind 0:0:0:0:0:ffff. */
static const char script[] =
    "function has(ports, port) {\n"
    "    for (var i = 0; i < ports.length; i += 2)\n"
    "        if (port >= ports[i] && port <= ports[i + 1])\n"
    "            return true;\n"
    "    return false;\n"
    "}\n"
    "function add(map, key, ports) {\n"
    "    map[key] = (map[key] || []).concat(ports);\n"
    "}\n"
    "function covers(map, key, port) {\n"
    "    return map[key] !== undefined && has(map[key], port);\n"
    "}\n"
    "function four(text) {\n"
    "    var m = /^(\\d{1,3})\\.(\\d{1,3})\\.(\\d{1,3})\\.(\\d{1,3})$/.exec(text);\n"
    "    if (!m || m[1] > 255 || m[2] > 255 || m[3] > 255 || m[4] > 255)\n"
    "        return null;\n"
    "    return [m[1] * 256 + +m[2], m[3] * 256 + +m[4]];\n"
    "}\n"
    "function part(text) {\n"
    "    var words = [], items = text === '' ? [] : text.split(':');\n"
    "    for (var i = 0; i < items.length; i++) {\n"
    "        var v4 = i === items.length - 1 ? four(items[i]) : null;\n"
    "        if (v4)\n"
    "            words = words.concat(v4);\n"
    "        else if (/^[0-9a-f]{1,4}$/.test(items[i]))\n"
    "            words.push(parseInt(items[i], 16));\n"
    "        else\n"
    "            return null;\n"
    "    }\n"
    "    return words;\n"
    "}\n"
    "function literal(host) {\n"
    "    var v4 = four(host), halves = host.split('::'), a, b;\n"
    "    if (v4)\n"
    "        return [0, 0, 0, 0, 0, 65535].concat(v4);\n"
    "    if (host.indexOf(':') < 0 || halves.length > 2)\n"
    "        return null;\n"
    "    a = part(halves[0]);\n"
    "    b = halves.length === 2 ? part(halves[1]) : [];\n"
    "    if (!a || !b || (halves.length === 1 ? a.length !== 8 : a.length + b.length > 7))\n"
    "        return null;\n"
    "    while (a.length + b.length < 8)\n"
    "        a.push(0);\n"
    "    return a.concat(b);\n"
    "}\n"
    "function four_in_six(words) {\n"
    "    return !words[0] && !words[1] && !words[2] && !words[3] && !words[4] && words[5] === 65535;\n"
    "}\n"
    "function within(words, net) {\n"
    "    if (four_in_six(words) !== (net[1] >= 96 && four_in_six(net[0])))\n"
    "        return false;\n"
    "    for (var i = 0, bits = net[1]; bits > 0; i++, bits -= 16)\n"
    "        if (words[i] >> (16 - Math.min(bits, 16)) !== net[0][i] >> (16 - Math.min(bits, 16)))\n"
    "            return false;\n"
    "    return true;\n"
    "}\n"
    "function in_nets(words, port, resolved) {\n"
    "    for (var i = 0; i < nets.length; i++)\n"
    "        if (has(nets[i][2], port) && (!resolved || nets[i][3]) && (!words || within(words, nets[i])))\n"
    "            return true;\n"
    "    return false;\n"
    "}\n"
    "function by_name(host, port) {\n"
    "    if (covers(names, '=' + host, port))\n"
    "        return true;\n"
    "    for (var dot = host.indexOf('.'); dot >= 0; dot = host.indexOf('.', dot + 1))\n"
    "        if (covers(suffixes, '=' + host.substring(dot + 1), port))\n"
    "            return true;\n"
    "    if (!in_nets(null, port, true))\n"
    "        return false;\n"
    "    var at = dnsResolve(host);\n"
    "    return !at || !literal(at) || in_nets(literal(at), port, true);\n"
    "}\n"
    "function FindProxyForURL(url, host) {\n"
    "    var m = /^([a-z][a-z0-9+.-]*):\\/\\/(?:[^\\/?#@]*@)?(?:\\[[^\\]]*\\]|[^:\\/?#]*)(?::(\\d+))?/i.exec(url);\n"
    "    var usual = { http: 80, ws: 80, https: 443, wss: 443, ftp: 21 };\n"
    "    var port = m ? +(m[2] || usual[m[1].toLowerCase()] || 0) : 0;\n"
    "    host = String(host).toLowerCase().replace(/^\\[|\\]$/g, '').replace(/\\.$/, '');\n"
    "    var words = literal(host);\n"
    "    if (all || (words ? in_nets(words, port, false) : by_name(host, port)))\n"
    "        return proxies;\n"
    "    return 'DIRECT';\n"
    "}\n";

/* What is no plain byte of a name is escaped, whoever let it in. */
static void put_text(struct buf *out, struct span text)
{
    buf_put_u8(out, '"');
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        bool is_plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';

        if (is_plain)
            buf_put_u8(out, (uint8_t)c);
        else
            buf_printf(out, "\\u%04x", (unsigned char)c);
    }
    buf_put_u8(out, '"');
}

static void put_ports(struct buf *out, const struct profile_record *profile)
{
    static const struct port_range every = { 1, 65535 };
    const struct port_range *ports = profile->port_count ? profile->ports : &every;
    size_t count = profile->port_count ? profile->port_count : 1;

    buf_put_u8(out, '[');
    for (size_t i = 0; i < count; i++)
        buf_printf(out, "%s%u,%u", i ? "," : "", ports[i].first, ports[i].last);
    buf_put_u8(out, ']');
}

static void put_net(struct buf *out, const struct cidr *net, const struct profile_record *profile)
{
    buf_put_str(out, "nets.push([[");
    for (size_t i = 0; i < 16; i += 2)
        buf_printf(out, "%s%u", i ? "," : "", net->base.ip[i] * 256u + net->base.ip[i + 1]);
    buf_printf(out, "],%u,", (unsigned)net->bits);
    put_ports(out, profile);
    buf_printf(out, ",%s]);\n", profile->match_resolved ? "true" : "false");
}

static void put_name(struct buf *out, const char *map, struct span name, const struct profile_record *profile)
{
    buf_printf(out, "add(%s, \"=\" + ", map);
    put_text(out, name);
    buf_put_str(out, ", ");
    put_ports(out, profile);
    buf_put_str(out, ");\n");
}

static void put_profile(struct buf *out, const struct profile_record *profile)
{
    for (size_t i = 0; i < profile->host_count && !buf_error(out); i++) {
        const struct host_pattern *host = &profile->hosts[i];

        if (host->kind == HOST_EXACT)
            put_name(out, "names", span_str(host->text), profile);
        else if (host->kind == HOST_SUFFIX)
            put_name(out, "suffixes", span_str(host->text), profile);
        else if (host->kind == HOST_CIDR)
            put_net(out, &host->cidr, profile);
    }
}

struct making {
    const struct policy *policy;
    struct buf *out;
    int64_t now_ms;
    size_t seen;
    bool is_all;                /* one grant covers everything */
};

static bool is_enough(const struct making *m)
{
    return m->is_all || buf_error(m->out) || m->seen > PAC_GRANTS_MAX;
}

static void put_grants_of(struct making *m, enum subject_kind kind, const struct ulid *subject)
{
    struct index_grants at = { .is_over = false };
    const struct grant_record *g;

    while (!is_enough(m) && (g = index_next_grant(m->policy, ulid_span(subject), &at))) {
        const struct profile_record *profile;

        m->seen++;
        if (g->subject_kind != kind || g->start_ms > m->now_ms || (g->end_ms && g->end_ms <= m->now_ms))
            continue;
        m->is_all = !g->profile.text[0];
        profile = m->is_all ? NULL : policy_profile(m->policy, &g->profile);
        if (profile)
            put_profile(m->out, profile);
    }
}

static void put_grants(struct making *m, const struct ulid *user)
{
    const struct user_record *who = policy_user(m->policy, user);

    if (who)
        put_grants_of(m, SUBJECT_USER, user);
    for (size_t i = 0; who && i < who->group_count; i++)
        put_grants_of(m, SUBJECT_GROUP, &who->groups[i]);
}

static bool are_proxies(struct span text)
{
    for (size_t i = 0; i < text.n; i++)
        if (!text.p[i] || !strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 .:;_-[]", text.p[i]))
            return false;
    return text.n && text.n <= PAC_PROXIES_MAX;
}

int pac_write(const struct policy *p, const struct ulid *user, struct span proxies, int64_t now_ms,
              struct buf *out)
{
    AUTO(buf_deinit) struct buf rules;
    struct making m = { .policy = p, .out = &rules, .now_ms = now_ms };

    buf_init_heap(&rules, PAC_MAX);
    if (!are_proxies(proxies))
        return -EINVAL;
    put_grants(&m, user);
    if (m.is_all)
        buf_clear(&rules);
    else if (m.seen > PAC_GRANTS_MAX)
        return -ENOBUFS;
    buf_printf(out, "var proxies = \"" SPAN_FMT "\", all = %s, names = {}, suffixes = {}, nets = [];\n",
               SPAN_ARG(proxies), m.is_all ? "true" : "false");
    buf_put_str(out, script);
    buf_put_span(out, buf_span(&rules));
    if (buf_error(&rules) || buf_error(out) || out->len > PAC_MAX)
        return -ENOBUFS;
    return 0;
}
