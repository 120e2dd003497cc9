#include "controlplane/domain/check.h"
#include "controlplane/domain/when.h"
#include "lib/base/addr.h"
#include "lib/base/ulid.h"
#include "lib/base/utf8.h"
#include "lib/policy/acl.h"
#include <string.h>

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

typedef enum check_result (*check_fn)(const struct check_limits *limits, struct span text,
                                      struct buf *out);

static bool is_made_of(struct span s, const char *set)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!s.p[i] || !strchr(set, s.p[i]))
            return false;
    }
    return true;
}

static enum check_result keep(bool is_good, struct span text, struct buf *out)
{
    if (!is_good)
        return CHECK_INVALID;
    buf_put_span(out, text);
    return CHECK_OK;
}

static enum check_result check_printable(const struct check_limits *limits, struct span text,
                                         struct buf *out)
{
    int64_t count = 0;

    for (size_t i = 0, n; i < text.n; i += n, count++) {
        n = utf8_len(span_skip(text, i));
        if (n == UTF8_BAD || (unsigned char)text.p[i] < 0x20 || text.p[i] == 0x7f)
            return CHECK_INVALID;
    }
    return keep(count >= limits->min && count <= limits->max, text, out);
}

static bool is_name(struct span text)
{
    return text.n >= 1 && text.n <= 63 && is_made_of(text, LOWER DIGITS "-");
}

static enum check_result check_name(const struct check_limits *limits, struct span text,
                                    struct buf *out)
{
    (void)limits;
    return keep(is_name(text), text, out);
}

static enum check_result check_ref(const struct check_limits *limits, struct span text,
                                   struct buf *out)
{
    struct ulid id;

    (void)limits;
    return keep(ulid_parse(text, &id) || is_name(text), text, out);
}

bool check_word(struct span word, const char *words)
{
    struct span rest = span_str(words), one;

    while (span_cut(&rest, ' ', &one)) {
        if (span_eq(one, word))
            return true;
    }
    return false;
}

static enum check_result check_enum(const struct check_limits *limits, struct span text,
                                    struct buf *out)
{
    return keep(text.n && check_word(text, limits->words), text, out);
}

static enum check_result check_time(const struct check_limits *limits, struct span text,
                                    struct buf *out)
{
    char canonical[WHEN_TEXT_MAX];
    int64_t ms;

    (void)limits;
    if (text.n < 20 || (text.p[10] != 'T' && text.p[10] != 't') || !when_parse(text, &ms))
        return CHECK_INVALID;
    buf_put_str(out, when_format(ms, canonical));
    return CHECK_OK;
}

/* IPv6 in lower case without dots, so that one text has one meaning everywhere. */
static bool parse_address(struct span text, struct addr *ret_addr)
{
    bool is_v6 = span_find(text, ':') < text.n;

    return is_made_of(text, is_v6 ? "abcdef" DIGITS ":" : DIGITS ".") && addr_parse(text, ret_addr);
}

static enum check_result check_address(const struct check_limits *limits, struct span text,
                                       struct buf *out)
{
    char canonical[ADDR_TEXT_MAX];
    struct addr a;

    (void)limits;
    if (!parse_address(text, &a))
        return CHECK_INVALID;
    buf_put_str(out, addr_format(&a, canonical));
    return CHECK_OK;
}

static bool parse_bits(struct span text, uint64_t max, uint64_t *ret_bits)
{
    return span_to_u64(text, max, ret_bits) && (text.n == 1 || text.p[0] != '0') && text.n <= 3;
}

static struct addr without_host_bits(const struct addr *a, unsigned bits)
{
    struct addr masked = { 0 };

    for (unsigned i = 0; i < bits; i++)
        masked.ip[i / 8] |= (unsigned char)(a->ip[i / 8] & (0x80 >> i % 8));
    return masked;
}

static bool parse_network(struct span text, struct cidr *ret_cidr)
{
    struct span address;
    struct addr a;
    bool is_v6 = span_find(text, ':') < text.n;
    uint64_t bits = is_v6 ? 128 : 32;

    if (!span_cut(&text, '/', &address) || !parse_address(address, &a))
        return false;
    if (text.p && !parse_bits(text, bits, &bits))
        return false;
    ret_cidr->bits = (uint8_t)(is_v6 ? bits : bits + 96);
    ret_cidr->base = without_host_bits(&a, ret_cidr->bits);
    return true;
}

static enum check_result check_network(const struct check_limits *limits, struct span text,
                                       struct buf *out)
{
    char canonical[ADDR_TEXT_MAX];
    struct cidr c;

    (void)limits;
    if (!parse_network(text, &c))
        return CHECK_INVALID;
    buf_put_str(out, cidr_format(&c, canonical));
    return CHECK_OK;
}

static bool is_label(struct span label, bool is_last)
{
    const char *ends = is_last ? LOWER DIGITS : LOWER DIGITS "_";

    return label.n >= 1 && label.n <= 63
           && is_made_of(label, is_last ? LOWER DIGITS "-" : LOWER DIGITS "_-")
           && strchr(is_last ? LOWER : ends, label.p[0]) && strchr(ends, label.p[label.n - 1]);
}

bool check_host_name(struct span name)
{
    struct span rest = name, label;

    if (!name.n || name.n > 253)
        return false;
    while (span_cut(&rest, '.', &label)) {
        if (!is_label(label, rest.p == NULL))
            return false;
    }
    return true;
}

static bool is_host(struct span text)
{
    return text.n <= 253
           && check_host_name(span_starts(text, SPAN("*.")) ? span_skip(text, 2) : text);
}

static enum check_result check_host(const struct check_limits *limits, struct span text,
                                    struct buf *out)
{
    (void)limits;
    return keep(is_host(text), text, out);
}

static enum check_result check_host_pattern(const struct check_limits *limits, struct span text,
                                            struct buf *out)
{
    return is_host(text) ? keep(true, text, out) : check_network(limits, text, out);
}

static enum check_result check_ports(const struct check_limits *limits, struct span text,
                                     struct buf *out)
{
    struct span rest = text, one;
    uint64_t port, before = 0;
    size_t count = 0;

    (void)limits;
    while (span_cut(&rest, '-', &one)) {
        if (!one.n || one.p[0] == '0' || ++count > 2 || !span_to_u64(one, 65535, &port))
            return CHECK_INVALID;
        if (port < before)
            return CHECK_CONFLICT;
        before = port;
    }
    return keep(count > 0, text, out);
}

/* The host part of a rule: a host pattern, IPv6 in brackets, or "*". */
static bool cut_rule_host(struct span *s, struct span *ret_host)
{
    if (s->n && s->p[0] == '[') {
        size_t end = span_find(*s, ']');

        if (end == s->n)
            return false;
        *ret_host = span_first(span_skip(*s, 1), end - 1);
        *s = span_skip(*s, end + 1);
        return span_find(*ret_host, ':') < ret_host->n;
    }
    *ret_host = span_first(*s, span_find(*s, ':'));
    *s = span_skip(*s, ret_host->n);
    return true;
}

static enum check_result check_rule_ports(struct span ports)
{
    struct check_limits none = { 0 };
    unsigned char scratch[32];
    struct buf out;
    struct span one;
    enum check_result r;
    size_t count = 0;

    while (span_cut(&ports, ',', &one)) {
        buf_init_fixed(&out, scratch, sizeof(scratch));
        r = ++count > ACL_PORTS_MAX ? CHECK_INVALID : check_ports(&none, one, &out);
        if (r)
            return r;
    }
    return count ? CHECK_OK : CHECK_INVALID;
}

static enum check_result check_acl_rule(const struct check_limits *limits, struct span text,
                                        struct buf *out)
{
    struct span rest = text, host;
    char canonical[ADDR_TEXT_MAX];
    struct cidr c;
    enum check_result r = CHECK_OK;
    bool is_name;

    (void)limits;
    if (text.n > 300 || !cut_rule_host(&rest, &host))
        return CHECK_INVALID;
    is_name = span_eq(host, SPAN("*")) || is_host(host);
    if (!is_name && !parse_network(host, &c))
        return CHECK_INVALID;
    if (rest.n)
        r = rest.p[0] == ':' ? check_rule_ports(span_skip(rest, 1)) : CHECK_INVALID;
    if (r || is_name)
        return r ? r : keep(true, text, out);
    buf_printf(out, text.p[0] == '[' ? "[%s]" : "%s", cidr_format(&c, canonical));
    buf_put_span(out, rest);
    return CHECK_OK;
}

static enum check_result check_scope(const struct check_limits *limits, struct span text,
                                     struct buf *out)
{
    struct span rest = text, resource;

    (void)limits;
    if (!span_cut(&rest, ':', &resource) || !rest.p || !resource.n || resource.n > 40)
        return CHECK_INVALID;
    return keep((span_eq(resource, SPAN("*")) || is_made_of(resource, LOWER "-")) &&
                    check_word(rest, "* read write"), text, out);
}

/* An issuer: OpenID Connect Discovery section 3. */
static enum check_result check_url(const struct check_limits *limits, struct span text,
                                   struct buf *out)
{
    struct span rest = span_skip(text, 8), host;

    (void)limits;
    if (!span_starts(text, SPAN("https://")) || text.n > 400 ||
        !is_made_of(rest, LOWER UPPER DIGITS "-._~:/[]%"))
        return CHECK_INVALID;
    (void)span_cut(&rest, '/', &host);
    return keep(host.n && strchr(LOWER UPPER DIGITS "[", host.p[0]), text, out);
}

static enum check_result check_printable_word(const struct check_limits *limits, struct span text,
                                              struct buf *out)
{
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] <= ' ' || text.p[i] > '~' || text.p[i] == '"' || text.p[i] == '\\')
            return CHECK_INVALID;
    }
    return keep((int64_t)text.n >= limits->min && (int64_t)text.n <= limits->max, text, out);
}

static enum check_result check_pem(const struct check_limits *limits, struct span text,
                                   struct buf *out)
{
    for (size_t i = 0; i < text.n; i++) {
        if ((text.p[i] < ' ' && text.p[i] != '\n') || text.p[i] > '~')
            return CHECK_INVALID;
    }
    return keep((int64_t)text.n <= limits->max &&
                    span_starts(text, SPAN("-----BEGIN CERTIFICATE-----\n")), text, out);
}

static enum check_result check_unix_path(const struct check_limits *limits, struct span text,
                                         struct buf *out)
{
    (void)limits;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '!' || text.p[i] > '~')
            return CHECK_INVALID;
    }
    return keep(text.n >= 2 && text.n < ADDR_UNIX_MAX && text.p[0] == '/', text, out);
}

static enum check_result check_hour(const struct check_limits *limits, struct span text,
                                    struct buf *out)
{
    uint64_t hour, minute;

    (void)limits;
    return keep(text.n == 5 && text.p[2] == ':' && span_to_u64(span_first(text, 2), 23, &hour) &&
                    span_to_u64(span_skip(text, 3), 59, &minute), text, out);
}

static enum check_result check_hour_end(const struct check_limits *limits, struct span text,
                                        struct buf *out)
{
    if (span_eq(text, SPAN("24:00")))
        return keep(true, text, out);
    return check_hour(limits, text, out);
}

static enum check_result check_zone(const struct check_limits *limits, struct span text,
                                    struct buf *out)
{
    struct span rest = text, part;
    size_t parts = 0;

    (void)limits;
    while (span_cut(&rest, '/', &part)) {
        if (!part.n || part.n > (parts ? 31 : 32) || ++parts > 3 ||
            !is_made_of(part, LOWER UPPER DIGITS "_+-"))
            return CHECK_INVALID;
    }
    return keep(text.n && strchr(LOWER UPPER, text.p[0]), text, out);
}

/* Leaves that are not texts have no function: a text is never one. */
static const struct {
    check_fn fn;
    const char *message;
} leaves[LEAF_COUNT] = {
    [LEAF_TEXT] = { check_printable,
                    "must be text of the allowed length, without control characters" },
    [LEAF_NAME] = { check_name, "must be 1 to 63 of a-z, 0-9 and -" },
    [LEAF_REF] = { check_ref, "must be an id or a name" },
    [LEAF_ENUM] = { check_enum, "must be one of the words that the contract lists" },
    [LEAF_TIME] = { check_time, "must be a time like 2031-01-31T18:00:00Z" },
    [LEAF_NETWORK] = { check_network, "must be an address or a prefix like 10.20.0.0/16" },
    [LEAF_ADDRESS] = { check_address, "must be an IPv4 or IPv6 address" },
    [LEAF_HOST] = { check_host, "must be a name or *.suffix, in lower case" },
    [LEAF_HOST_PATTERN] = { check_host_pattern,
                            "must be a name, *.suffix, an address or a prefix" },
    [LEAF_PORTS] = { check_ports, "must be a port or a range like 8000-8100, lower end first" },
    [LEAF_ACL_RULE] = { check_acl_rule,
                        "must be like *.example:80,443 or 10.0.0.0/8 or [2001:db8::/32]:22" },
    [LEAF_SCOPE] = { check_scope, "must be like users:read, *:read or *:*" },
    [LEAF_URL] = { check_url, "must be like https://login.example/realm, without query and fragment" },
    [LEAF_WORD] = { check_printable_word,
                    "must be of the allowed length, without spaces, quotes and backslashes" },
    [LEAF_PEM] = { check_pem, "must be certificates as PEM, of at most 4000 characters" },
    [LEAF_UNIX_PATH] = { check_unix_path, "must be an absolute path of at most 107 characters" },
    [LEAF_HOUR] = { check_hour, "must be like 08:00" },
    [LEAF_HOUR_END] = { check_hour_end, "must be like 18:00, or 24:00" },
    [LEAF_ZONE] = { check_zone, "must be the name of a time zone like Europe/Berlin" },
};

enum check_result check_text(enum leaf leaf, const struct check_limits *limits, struct span text,
                             struct buf *out, const char **ret_message)
{
    *ret_message = leaves[leaf].message ? leaves[leaf].message : "must not be text";
    return leaves[leaf].fn ? leaves[leaf].fn(limits, text, out) : CHECK_INVALID;
}

bool check_label_key(struct span key)
{
    return key.n >= 1 && key.n <= 63 && is_made_of(key, LOWER DIGITS "._-") &&
           strchr(LOWER DIGITS, key.p[0]);
}

bool scope_covers(struct span wide, struct span narrow)
{
    struct span wide_resource, narrow_resource;

    if (!span_cut(&wide, ':', &wide_resource) || !span_cut(&narrow, ':', &narrow_resource))
        return false;
    return (span_eq(wide_resource, SPAN("*")) || span_eq(wide_resource, narrow_resource)) &&
           (span_eq(wide, SPAN("*")) || span_eq(wide, narrow));
}
