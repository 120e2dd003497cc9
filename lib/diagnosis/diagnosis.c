#include "lib/diagnosis/diagnosis.h"
#include "lib/base/utf8.h"
#include <errno.h>
#include <string.h>

static const char *const step_names[DIAGNOSIS_STEPS] = { "resolve", "connect", "tls" };

const char *diagnosis_step_name(enum diagnosis_step step)
{
    return step_names[step];
}

/* C0, DEL, C1, and what ends lines elsewhere. */
static bool is_control(struct span ch)
{
    const unsigned char *p = (const unsigned char *)ch.p;

    return (ch.n == 1 && (p[0] < 0x20 || p[0] == 0x7f)) || (ch.n == 2 && p[0] == 0xc2 && p[1] < 0xa0) ||
           (ch.n == 3 && p[0] == 0xe2 && p[1] == 0x80 && (p[2] == 0xa8 || p[2] == 0xa9));
}

void diagnosis_text(char *dst, size_t size, struct span text)
{
    size_t len = 0;

    while (text.n) {
        size_t n = utf8_len(text);
        struct span ch = span_first(text, n ? n : 1);
        bool is_bad = !n || is_control(ch);

        if (len + (is_bad ? 1 : ch.n) >= size)
            break;
        memcpy(dst + len, is_bad ? "?" : ch.p, is_bad ? 1 : ch.n);
        len += is_bad ? 1 : ch.n;
        text = span_skip(text, ch.n);
    }
    dst[len] = 0;
}

/* --- writing ----------------------------------------------------------------------------------- */

static void put_place(const struct diagnosis_place *place, bool is_try, struct json_writer *w)
{
    json_open_object(w, NULL);
    json_put_text(w, "address", place->at);
    if (is_try)
        json_put_int(w, "took_ms", place->took_ms);
    json_put_text(w, "reason", reason_text(place->reason));
    json_close_object(w);
}

static void put_places(const char *key, const struct diagnosis_place *places, size_t count, bool are_tries,
                       struct json_writer *w)
{
    json_open_array(w, key);
    for (size_t i = 0; i < count; i++)
        put_place(&places[i], are_tries, w);
    json_close_array(w);
}

static void put_left_out(size_t count, struct json_writer *w)
{
    if (count)
        json_put_int(w, "left_out", (int64_t)count);
}

static void put_resolve(const struct diagnosis *d, struct json_writer *w)
{
    json_put_text(w, "resolved_by", d->resolved_by);
    json_put_text(w, "server", d->server);
    put_places("addresses", d->addresses, d->address_count, false, w);
    put_left_out(d->addresses_left_out, w);
}

static void put_connect(const struct diagnosis *d, struct json_writer *w)
{
    json_put_text(w, "address", d->used);
    put_places("tries", d->tries, d->try_count, true, w);
}

static void put_certificate(const struct diagnosis_certificate *c, struct json_writer *w)
{
    json_open_object(w, NULL);
    json_put_text(w, "subject", c->subject);
    json_put_text(w, "issuer", c->issuer);
    json_open_array(w, "names");
    for (size_t i = 0; i < c->name_count; i++)
        json_put_text(w, NULL, c->names[i]);
    json_close_array(w);
    put_left_out(c->names_left_out, w);
    json_put_text(w, "not_before", c->not_before);
    json_put_text(w, "not_after", c->not_after);
    json_put_text(w, "fingerprint", c->fingerprint);
    json_close_object(w);
}

static void put_tls(const struct diagnosis *d, struct json_writer *w)
{
    json_put_text(w, "server_name", d->server_name);
    json_put_text(w, "version", d->version);
    json_put_text(w, "cipher", d->cipher);
    json_put_text(w, "alpn", d->alpn);
    json_put_bool(w, "verified", d->is_verified);
    json_open_array(w, "certificates");
    for (size_t i = 0; i < d->certificate_count; i++)
        put_certificate(&d->certificates[i], w);
    json_close_array(w);
    put_left_out(d->certificates_left_out, w);
}

typedef void put_fn(const struct diagnosis *d, struct json_writer *w);
static put_fn *const putters[DIAGNOSIS_STEPS] = { put_resolve, put_connect, put_tls };

void diagnosis_encode(const struct diagnosis *d, struct json_writer *w, const char *key)
{
    json_open_object(w, key);
    json_put_text(w, "reason", reason_text(d->reason));
    json_put_text(w, "detail", d->detail);
    json_open_array(w, "steps");
    for (unsigned i = 0; i < d->steps; i++) {
        json_open_object(w, NULL);
        json_put_text(w, "step", step_names[i]);
        json_put_text(w, "reason", reason_text(d->step[i].reason));
        json_put_int(w, "took_ms", d->step[i].took_ms);
        json_put_text(w, "detail", d->step[i].detail);
        putters[i](d, w);
        json_close_object(w);
    }
    json_close_array(w);
    json_close_object(w);
}

/* --- reading ----------------------------------------------------------------------------------- */

/* Absent is empty; another type is a fault. */
static bool take_text(const struct json_value *v, const char *key, char *dst, size_t size)
{
    struct span text = SPAN_NONE;

    if (json_get(v, key) && !json_get_str(v, key, &text))
        return false;
    diagnosis_text(dst, size, text);
    return true;
}

#define TAKE_TEXT(v, key, member) take_text((v), (key), (member), sizeof(member))

/* A code that this build does not know is `internal`, as in frames. */
static bool take_reason(const struct json_value *v, enum reason *ret_reason)
{
    struct span text;
    enum reason reason;

    if (!json_get_str(v, "reason", &text))
        return false;
    reason = reason_find(text);
    *ret_reason = reason == REASON_COUNT ? REASON_INTERNAL : reason;
    return true;
}

static bool take_count(const struct json_value *v, const char *key, int64_t max, int64_t *ret)
{
    *ret = 0;
    if (!json_get(v, key))
        return true;
    return json_get_int(v, key, ret) && *ret >= 0 && *ret <= max;
}

static bool take_ms(const struct json_value *v, uint32_t *ret_ms)
{
    int64_t ms;

    if (!take_count(v, "took_ms", UINT32_MAX, &ms))
        return false;
    *ret_ms = (uint32_t)ms;
    return true;
}

/* The array of that name and how much of it is read; the rest counts as left out. */
static bool take_list(const struct json_value *v, const char *key, size_t max, const struct json_value **ret_list,
                      size_t *ret_count, size_t *ret_left_out)
{
    int64_t left_out;

    *ret_list = json_get(v, key);
    if (!*ret_list || json_kind_of(*ret_list) != JSON_IS_ARRAY || !take_count(v, "left_out", 100000, &left_out))
        return false;
    *ret_count = json_count(*ret_list) < max ? json_count(*ret_list) : max;
    *ret_left_out = (size_t)left_out + json_count(*ret_list) - *ret_count;
    return true;
}

static bool take_places(const struct json_value *v, const char *key, struct diagnosis_place *places, size_t max,
                        bool are_tries, size_t *ret_count, size_t *ret_left_out)
{
    const struct json_value *list;
    bool is_good = take_list(v, key, max, &list, ret_count, ret_left_out);

    for (size_t i = 0; is_good && i < *ret_count; i++) {
        const struct json_value *item = json_at(list, i);

        is_good = TAKE_TEXT(item, "address", places[i].at) && take_reason(item, &places[i].reason) &&
                  (!are_tries || take_ms(item, &places[i].took_ms));
    }
    return is_good;
}

static bool take_resolve(const struct json_value *v, struct diagnosis *d)
{
    return TAKE_TEXT(v, "resolved_by", d->resolved_by) && TAKE_TEXT(v, "server", d->server) &&
           take_places(v, "addresses", d->addresses, DIAGNOSIS_ADDRESSES_MAX, false, &d->address_count,
                       &d->addresses_left_out);
}

static bool take_connect(const struct json_value *v, struct diagnosis *d)
{
    size_t left_out;

    return TAKE_TEXT(v, "address", d->used) &&
           take_places(v, "tries", d->tries, DIAGNOSIS_TRIES_MAX, true, &d->try_count, &left_out);
}

static bool take_certificate(const struct json_value *v, struct diagnosis_certificate *c)
{
    const struct json_value *names;
    struct span name;

    if (!TAKE_TEXT(v, "subject", c->subject) || !TAKE_TEXT(v, "issuer", c->issuer) ||
        !TAKE_TEXT(v, "not_before", c->not_before) || !TAKE_TEXT(v, "not_after", c->not_after) ||
        !TAKE_TEXT(v, "fingerprint", c->fingerprint) ||
        !take_list(v, "names", DIAGNOSIS_NAMES_MAX, &names, &c->name_count, &c->names_left_out))
        return false;
    for (size_t i = 0; i < c->name_count; i++) {
        if (!json_as_str(json_at(names, i), &name))
            return false;
        diagnosis_text(c->names[i], sizeof(c->names[i]), name);
    }
    return true;
}

static bool take_tls(const struct json_value *v, struct diagnosis *d)
{
    const struct json_value *list;

    if (!TAKE_TEXT(v, "server_name", d->server_name) || !TAKE_TEXT(v, "version", d->version) ||
        !TAKE_TEXT(v, "cipher", d->cipher) || !TAKE_TEXT(v, "alpn", d->alpn) ||
        !json_get_bool(v, "verified", &d->is_verified) ||
        !take_list(v, "certificates", DIAGNOSIS_CERTIFICATES_MAX, &list, &d->certificate_count,
                   &d->certificates_left_out))
        return false;
    for (size_t i = 0; i < d->certificate_count; i++) {
        if (!take_certificate(json_at(list, i), &d->certificates[i]))
            return false;
    }
    return true;
}

typedef bool take_fn(const struct json_value *v, struct diagnosis *d);
static take_fn *const takers[DIAGNOSIS_STEPS] = { take_resolve, take_connect, take_tls };

static bool take_step(const struct json_value *v, unsigned i, struct diagnosis *d)
{
    struct span name;

    return json_get_str(v, "step", &name) && span_eq(name, span_str(step_names[i])) &&
           take_reason(v, &d->step[i].reason) && take_ms(v, &d->step[i].took_ms) &&
           TAKE_TEXT(v, "detail", d->step[i].detail) && takers[i](v, d);
}

int diagnosis_decode(const struct json_value *v, struct diagnosis *ret_diagnosis)
{
    struct diagnosis *d = ret_diagnosis;
    const struct json_value *steps = json_get(v, "steps");

    memset(d, 0, sizeof(*d));
    if (!steps || json_kind_of(steps) != JSON_IS_ARRAY || json_count(steps) > DIAGNOSIS_STEPS ||
        !take_reason(v, &d->reason) || !TAKE_TEXT(v, "detail", d->detail))
        return -EINVAL;
    d->steps = (unsigned)json_count(steps);
    for (unsigned i = 0; i < d->steps; i++) {
        if (!take_step(json_at(steps, i), i, d))
            return -EINVAL;
    }
    return 0;
}
