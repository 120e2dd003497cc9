#include "lib/state/document.h"
#include "lib/base/encode.h"
#include "lib/crypto/digest.h"
#include "lib/state/state_internal.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const kind_names[DOCUMENT_KIND_COUNT] = {
    [DOCUMENT_KEYSET] = "keyset",
    [DOCUMENT_HEAD] = "head",
    [DOCUMENT_DELTA] = "delta",
    [DOCUMENT_SNAPSHOT] = "snapshot",
    [DOCUMENT_AGENTPOLICY] = "agentpolicy",
};

const char *document_kind_name(enum document_kind kind)
{
    return (unsigned)kind < DOCUMENT_KIND_COUNT ? kind_names[kind] : "none";
}

int state_reject(struct state_error *reterr, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(reterr->text, sizeof(reterr->text), format, args);
    va_end(args);
    return DOCUMENT_E_REJECTED;
}

int state_too_new(struct state_error *reterr, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(reterr->text, sizeof(reterr->text), format, args);
    va_end(args);
    return DOCUMENT_E_TOO_NEW;
}

int state_say_where(struct state_error *reterr, int r, const char *format, ...)
{
    va_list args;

    if (r != DOCUMENT_E_REJECTED && r != DOCUMENT_E_TOO_NEW)
        return r;
    va_start(args, format);
    vsnprintf(reterr->text, sizeof(reterr->text), format, args);
    va_end(args);
    return r;
}

int state_reject_json(struct state_error *reterr, const char *where, int r,
                      const struct json_error *e)
{
    if (r != -EINVAL)
        return r;
    return state_reject(reterr, "%s%s%s: %s", where, e->pointer[0] ? ", field " : "",
                        e->pointer[0] ? e->pointer + 1 : "", e->message);
}

struct span state_cut_line(struct span *rest)
{
    struct span line = SPAN_NONE;

    if (!span_cut(rest, '\n', &line))
        return SPAN_NONE;
    return line;
}

uint64_t state_unsigned(int64_t v)
{
    return v < 0 ? 0 : (uint64_t)v;
}

/* What is signed: purpose, cluster and epoch before the bytes, so that no signature made for
 * one serves another. */
struct signing {
    char before[160];
    struct span parts[2];
};

static void signing_init(struct signing *s, enum document_kind kind, const char *cluster,
                         uint64_t epoch, struct span bytes)
{
    struct buf b;

    buf_init_fixed(&b, s->before, sizeof(s->before));
    buf_printf(&b, "adit/%s/v1", document_kind_name(kind));
    buf_put_u8(&b, 0);
    buf_put_str(&b, cluster);
    buf_put_u8(&b, 0);
    buf_printf(&b, "%" PRIu64, epoch);
    buf_put_u8(&b, 0);
    s->parts[0] = buf_span(&b);
    s->parts[1] = bytes;
}

static int key_id(const struct key *key, char ret_id[DOCUMENT_KEY_ID_LEN + 1])
{
    char hex[SHA256_HEX];
    int r = key_fingerprint(key, hex);

    if (r)
        return r;
    memcpy(ret_id, hex, DOCUMENT_KEY_ID_LEN);
    ret_id[DOCUMENT_KEY_ID_LEN] = '\0';
    return 0;
}

int document_sign(enum document_kind kind, const char *cluster, uint64_t epoch,
                  const struct key *key, struct span bytes, struct buf *out)
{
    unsigned char mem[KEY_SIGNATURE_MAX];
    char id[DOCUMENT_KEY_ID_LEN + 1];
    struct signing s;
    struct buf signature;
    int r;

    if (bytes.n > DOCUMENT_SIZE_MAX || strlen(cluster) > DOCUMENT_CLUSTER_MAX)
        return -ENOBUFS;
    r = key_id(key, id);
    if (r)
        return r;
    signing_init(&s, kind, cluster, epoch, bytes);
    buf_init_fixed(&signature, mem, sizeof(mem));
    r = key_sign_parts(key, s.parts, ARRAY_LEN(s.parts), &signature);
    if (r)
        return r;
    buf_printf(out, "adit/%s/v1 %s %" PRIu64 " %s ", document_kind_name(kind), cluster, epoch, id);
    base64url_encode(buf_span(&signature), out);
    buf_printf(out, " %zu\n", bytes.n);
    buf_put_span(out, bytes);
    return buf_error(out);
}

static bool kind_parse(struct span text, enum document_kind *ret_kind)
{
    char full[32];

    for (enum document_kind k = 0; k < DOCUMENT_KIND_COUNT; k++) {
        snprintf(full, sizeof(full), "adit/%s/v1", kind_names[k]);
        if (span_eq(text, span_str(full))) {
            *ret_kind = k;
            return true;
        }
    }
    return false;
}

static bool signature_parse(struct span text, struct document *d)
{
    struct buf out;

    buf_init_fixed(&out, d->signature, sizeof(d->signature));
    if (!base64url_decode(text, &out) || buf_error(&out))
        return false;
    d->signature_len = out.len;
    return true;
}

static bool line_parse(struct span line, struct document *d, uint64_t *ret_size)
{
    struct span part[6];

    for (size_t i = 0; i < ARRAY_LEN(part); i++) {
        if (!span_cut(&line, ' ', &part[i]))
            return false;
    }
    return !line.p && kind_parse(part[0], &d->kind) && part[1].n > 0 &&
           span_copy(part[1], d->cluster, sizeof(d->cluster)) &&
           span_to_u64(part[2], UINT64_MAX, &d->epoch) && part[3].n == DOCUMENT_KEY_ID_LEN &&
           span_copy(part[3], d->key_id, sizeof(d->key_id)) && signature_parse(part[4], d) &&
           span_to_u64(part[5], DOCUMENT_SIZE_MAX, ret_size);
}

int document_cut_or_short(struct span *rest, struct document *ret_document, bool *ret_is_short,
                          struct state_error *reterr)
{
    struct document d = { 0 };
    size_t line_len;
    uint64_t size;

    *ret_is_short = false;
    if (rest->n == 0)
        return DOCUMENT_E_END;
    line_len = span_find(span_first(*rest, DOCUMENT_LINE_MAX), '\n');
    if (line_len == rest->n) {
        *ret_is_short = true;
        return state_reject(reterr, "the document's first line is cut short");
    }
    if (line_len == DOCUMENT_LINE_MAX || !line_parse(span_first(*rest, line_len), &d, &size))
        return state_reject(reterr, "not a signed document: the first line is malformed");
    d.bytes = span_skip(*rest, line_len + 1);
    if (d.bytes.n < size) {
        *ret_is_short = true;
        return state_reject(reterr, "%s: cut short, %zu of %" PRIu64 " bytes",
                            document_kind_name(d.kind), d.bytes.n, size);
    }
    d.bytes.n = (size_t)size;
    d.whole = span_first(*rest, line_len + 1 + d.bytes.n);
    *rest = span_skip(*rest, d.whole.n);
    *ret_document = d;
    return 0;
}

int document_cut(struct span *rest, struct document *ret_document, struct state_error *reterr)
{
    bool is_short;

    return document_cut_or_short(rest, ret_document, &is_short, reterr);
}

static int check_purpose(const struct document *d, enum document_kind expected,
                         const char *cluster, struct state_error *reterr)
{
    if (d->kind != expected)
        return state_reject(reterr, "a %s where a %s is expected", document_kind_name(d->kind),
                            document_kind_name(expected));
    if (strcmp(d->cluster, cluster) != 0)
        return state_reject(reterr, "%s: for cluster %s, not %s", document_kind_name(d->kind),
                            d->cluster, cluster);
    return 0;
}

int document_verify_with_key(const struct document *d, enum document_kind expected,
                             const char *cluster, const struct key *key,
                             struct state_error *reterr)
{
    char id[DOCUMENT_KEY_ID_LEN + 1];
    struct signing s;
    int r = check_purpose(d, expected, cluster, reterr);

    if (r)
        return r;
    r = key_id(key, id);
    if (r)
        return r;
    if (strcmp(id, d->key_id) != 0)
        return state_reject(reterr, "%s: signed with key %s, which is not trusted here",
                            document_kind_name(d->kind), d->key_id);
    signing_init(&s, d->kind, d->cluster, d->epoch, d->bytes);
    if (!key_verify_parts(key, s.parts, ARRAY_LEN(s.parts),
                          span_of(d->signature, d->signature_len)))
        return state_reject(reterr, "%s: bad signature", document_kind_name(d->kind));
    return 0;
}
