#include "lib/state/state.h"
#include "lib/crypto/digest.h"
#include "lib/state/state_internal.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { LINE_LEAST = 4, CRITICAL_MAX = 32, KIND_NAME_MAX = 32 };

/* The first line of a head, delta or snapshot. */
struct header {
    int64_t format, epoch, revision, after, count, beat, term, time_ms;
    char cluster[DOCUMENT_CLUSTER_MAX + 1];
    char digest[SHA256_HEX];
    struct json_strs critical;
};

#define INT(key_, min_, flags_) \
    { #key_, J_INT, offsetof(struct header, key_), 0, min_, INT64_MAX, flags_ }
#define COMMON                                                                              \
    INT(format, 1, JSON_REQUIRED),                                                          \
    { "cluster", J_TEXT, offsetof(struct header, cluster), DOCUMENT_CLUSTER_MAX + 1, 1,     \
      DOCUMENT_CLUSTER_MAX, JSON_REQUIRED },                                                \
    INT(epoch, 1, JSON_REQUIRED), INT(revision, 1, JSON_REQUIRED),                          \
    { "digest", J_TEXT, offsetof(struct header, digest), SHA256_HEX, SHA256_HEX - 1,        \
      SHA256_HEX - 1, JSON_REQUIRED },                                                      \
    { "critical", J_STRS, offsetof(struct header, critical), 0, 0, CRITICAL_MAX, 0 }

static const struct json_field head_fields[] = {
    COMMON, INT(beat, 0, JSON_REQUIRED), INT(term, 0, JSON_REQUIRED), INT(time_ms, 0, JSON_REQUIRED)
};
static const struct json_field delta_fields[] = {
    COMMON, INT(after, 0, JSON_REQUIRED), INT(count, 0, JSON_REQUIRED)
};
static const struct json_field snapshot_fields[] = { COMMON, INT(count, 0, JSON_REQUIRED) };

static void header_deinit(struct header *h)
{
    json_free_fields(snapshot_fields, ARRAY_LEN(snapshot_fields), h);   /* COMMON has all that is freed */
}

void state_digest(struct span document_bytes, char ret_digest[65])
{
    sha256_hex(document_bytes, ret_digest);
}

/* Features that a reader must know or refuse the document; format 1 has none. */
static int check_critical(const struct header *h, struct state_error *reterr)
{
    if (h->critical.count > 0)
        return state_too_new(reterr, "unknown critical feature %.100s", h->critical.items[0]);
    return 0;
}

static int header_read(const struct document *d, const struct json_field *fields, size_t count,
                       struct span line, struct header *h, struct state_error *reterr)
{
    struct json_error e;
    int r = json_decode_text(line, fields, count, JSON_ALLOW_UNKNOWN, h, &e);

    if (r)
        return state_reject_json(reterr, document_kind_name(d->kind), r, &e);
    if (h->format != STATE_FORMAT)
        return state_too_new(reterr, "%s: format %" PRId64 " is not known here",
                             document_kind_name(d->kind), h->format);
    if (strcmp(h->cluster, d->cluster) != 0 || state_unsigned(h->epoch) != d->epoch)
        return state_reject(reterr, "%s: cluster or epoch differ from the first line",
                            document_kind_name(d->kind));
    return check_critical(h, reterr);
}

int state_head_sign(const char *cluster, const struct state_head *head, const struct key *key,
                    struct buf *out)
{
    struct header h = { .format = STATE_FORMAT, .epoch = (int64_t)head->epoch,
                        .revision = (int64_t)head->revision, .beat = (int64_t)head->beat,
                        .term = (int64_t)head->term, .time_ms = head->time_ms };
    unsigned char mem[1024];
    struct buf bytes;

    if (!span_copy(span_str(cluster), h.cluster, sizeof(h.cluster)))
        return -EINVAL;
    memcpy(h.digest, head->digest, sizeof(h.digest));
    buf_init_fixed(&bytes, mem, sizeof(mem));
    json_encode(&h, head_fields, ARRAY_LEN(head_fields), &bytes);
    buf_put_str(&bytes, "\n");
    if (buf_error(&bytes))
        return buf_error(&bytes);
    return document_sign(DOCUMENT_HEAD, cluster, head->epoch, key, buf_span(&bytes), out);
}

int state_head_open(const struct document *d, const struct keyset *keys,
                    struct state_head *ret_head, struct state_error *reterr)
{
    AUTO(header_deinit) struct header h = { 0 };
    int r = document_verify(d, DOCUMENT_HEAD, keys, reterr);

    if (r == 0)
        r = header_read(d, head_fields, ARRAY_LEN(head_fields), d->bytes, &h, reterr);
    if (r)
        return r;
    *ret_head = (struct state_head){ .epoch = d->epoch, .revision = state_unsigned(h.revision),
                                     .beat = state_unsigned(h.beat),
                                     .term = state_unsigned(h.term), .time_ms = h.time_ms };
    memcpy(ret_head->digest, h.digest, sizeof(h.digest));
    return 0;
}

int state_head_check(const struct state_head *newest, const struct state_head *head,
                     struct state_error *reterr)
{
    const uint64_t was[] = { newest->epoch, newest->revision, newest->beat };
    const uint64_t is[] = { head->epoch, head->revision, head->beat };

    for (size_t i = 0; i < ARRAY_LEN(is); i++) {
        if (is[i] > was[i])
            break;
        if (is[i] < was[i])
            return state_reject(reterr, "head %" PRIu64 ".%" PRIu64 " beat %" PRIu64
                                " is older than %" PRIu64 ".%" PRIu64 " beat %" PRIu64,
                                is[0], is[1], is[2], was[0], was[1], was[2]);
    }
    if (is[0] == was[0] && is[1] == was[1] && strcmp(newest->digest, head->digest) != 0)
        return state_reject(reterr, "head %" PRIu64 ".%" PRIu64 ": the same revision with another "
                            "digest", is[0], is[1]);
    return 0;
}

static int change_sign(enum document_kind kind, const char *cluster, const struct state_change *c,
                       const struct key *key, struct buf *out, char *ret_digest)
{
    const struct json_field *fields = kind == DOCUMENT_DELTA ? delta_fields : snapshot_fields;
    size_t n = kind == DOCUMENT_DELTA ? ARRAY_LEN(delta_fields) : ARRAY_LEN(snapshot_fields);
    AUTO(buf_deinit) struct buf bytes = { 0 };
    struct header h = { .format = STATE_FORMAT, .epoch = (int64_t)c->epoch,
                        .revision = (int64_t)c->revision, .after = (int64_t)c->after,
                        .count = (int64_t)c->count };

    if (!span_copy(span_str(cluster), h.cluster, sizeof(h.cluster)))
        return -EINVAL;
    memcpy(h.digest, c->digest, sizeof(h.digest));
    buf_init_heap(&bytes, DOCUMENT_SIZE_MAX);
    json_encode(&h, fields, n, &bytes);
    buf_put_str(&bytes, "\n");
    buf_put_span(&bytes, c->lines);
    if (buf_error(&bytes))
        return buf_error(&bytes);
    if (ret_digest)
        state_digest(buf_span(&bytes), ret_digest);
    return document_sign(kind, cluster, c->epoch, key, buf_span(&bytes), out);
}

int state_delta_sign(const char *cluster, const struct state_change *c, const struct key *key,
                     struct buf *out, char ret_digest[65])
{
    if (c->lines.n > STATE_DELTA_MAX)
        return -ENOBUFS;
    return change_sign(DOCUMENT_DELTA, cluster, c, key, out, ret_digest);
}

int state_snapshot_sign(const char *cluster, const struct state_change *c, const struct key *key,
                        struct buf *out)
{
    return change_sign(DOCUMENT_SNAPSHOT, cluster, c, key, out, NULL);
}

/* The lines as changes of a policy, with the records that they own. */
struct parsed {
    struct policy_change *changes;
    size_t n, lines, skipped;
};

static void parsed_deinit(struct parsed *p)
{
    for (size_t i = 0; i < p->n; i++)
        record_unref(p->changes[i].put);
    free(p->changes);
}

/* "weather?": whoever does not know the kind may do without its records. */
static bool kind_cut_mark(struct span *kind)
{
    bool is_marked = kind->n > 1 && kind->p[kind->n - 1] == '?';

    if (is_marked)
        kind->n--;
    return is_marked;
}

static bool is_kind_name(struct span kind)
{
    for (size_t i = 0; i < kind.n; i++) {
        if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789-", kind.p[i]) || !kind.p[i])
            return false;
    }
    return kind.n >= 1 && kind.n <= KIND_NAME_MAX;
}

/* "+user 01H... {...}", "-user 01H..."; an id of nothing: to be skipped. */
static int line_parse(struct span line, bool may_remove, struct policy_change *ret,
                      struct state_error *reterr)
{
    struct span rest = span_skip(line, 1), kind, id;
    bool is_put = span_starts(line, SPAN("+")), is_marked;
    struct policy_change c = { 0 };

    if (line.n > RECORD_LINE_MAX)
        return state_reject(reterr, "is too long");
    if (!is_put && !(may_remove && span_starts(line, SPAN("-"))))
        return state_reject(reterr, "begins with neither '+' nor, in a delta, '-'");
    if (!span_cut(&rest, ' ', &kind))
        return state_reject(reterr, "is malformed");
    is_marked = kind_cut_mark(&kind);
    if (!is_kind_name(kind) || !span_cut(&rest, ' ', &id) || id.n == 0 || (rest.p != NULL) != is_put)
        return state_reject(reterr, "is malformed");
    if (!record_kind_parse(kind, &c.kind)) {
        *ret = c;
        return is_marked ? 0 : state_too_new(reterr, "the kind " SPAN_FMT " is not known here", SPAN_ARG(kind));
    }
    c.id = id;
    if (is_put) {
        int r = record_decode(c.kind, id, rest, &c.put, reterr);

        if (r)
            return r;
    }
    *ret = c;
    return 0;
}

static int lines_parse(struct span lines, const struct header *h, bool may_remove,
                       struct parsed *ret_parsed, struct state_error *reterr)
{
    struct state_error inner;
    size_t count = (size_t)h->count;

    if (h->count > (int64_t)(lines.n / LINE_LEAST))
        return state_reject(reterr, "field count: more than the document can hold");
    ret_parsed->changes = calloc(count ? count : 1, sizeof(*ret_parsed->changes));
    if (!ret_parsed->changes)
        return -ENOMEM;
    for (; ret_parsed->lines < count && lines.n > 0; ret_parsed->lines++) {
        struct policy_change *change = &ret_parsed->changes[ret_parsed->n];
        size_t len = span_find(lines, '\n');
        int r;

        if (len == lines.n)
            return state_reject(reterr, "line %zu: is cut short", ret_parsed->lines + 2);
        r = line_parse(span_first(lines, len), may_remove, change, &inner);
        if (r)
            return state_say_where(reterr, r, "line %zu, %.200s", ret_parsed->lines + 2, inner.text);
        if (change->id.n)
            ret_parsed->n++;
        else
            ret_parsed->skipped += lines.p[0] == '+';
        lines = span_skip(lines, len + 1);
    }
    if (lines.n > 0 || ret_parsed->lines < count)
        return state_reject(reterr, "field count: says %zu, there are %s", count,
                            lines.n ? "more" : "less");
    return 0;
}

static int check_delta(const struct header *h, const struct document *d,
                       const struct state_position *at, struct state_error *reterr)
{
    uint64_t revision = state_unsigned(h->revision);
    char digest[SHA256_HEX];

    if (at->revision == 0 && at->epoch == 0 && h->after == 0)
        return 0;
    if (d->epoch < at->epoch || (d->epoch == at->epoch && revision < at->revision))
        return state_reject(reterr, "older than %" PRIu64 ".%" PRIu64, at->epoch, at->revision);
    if (d->epoch > at->epoch)
        return state_reject(reterr, "gap: a new epoch begins with a snapshot");
    state_digest(d->bytes, digest);
    if (revision == at->revision)
        return strcmp(digest, at->digest) == 0
                   ? STATE_E_HAVE : state_reject(reterr, "the same revision with other bytes");
    if (state_unsigned(h->after) != at->revision)
        return state_reject(reterr, "gap: follows %" PRId64 ", not %" PRIu64, h->after,
                            at->revision);
    if (strcmp(h->digest, at->digest) != 0)
        return state_reject(reterr, "follows another %" PRIu64 ".%" PRIu64, at->epoch,
                            at->revision);
    return 0;
}

static int check_snapshot(const struct header *h, const struct document *d,
                          const struct state_position *at, struct state_error *reterr)
{
    uint64_t revision = state_unsigned(h->revision);

    if (d->epoch < at->epoch || (d->epoch == at->epoch && revision < at->revision))
        return state_reject(reterr, "older than %" PRIu64 ".%" PRIu64, at->epoch, at->revision);
    if (d->epoch > at->epoch || revision > at->revision)
        return 0;
    return strcmp(h->digest, at->digest) == 0
               ? STATE_E_HAVE : state_reject(reterr, "the same revision with other bytes");
}

static int apply_lines(struct span lines, const struct header *h, const struct policy *base,
                       struct policy **ret_policy, uint64_t *skipped, struct state_error *reterr)
{
    AUTO(parsed_deinit) struct parsed parsed = { 0 };
    AUTO(policy_unrefp) struct policy *empty = NULL;
    int r = lines_parse(lines, h, base != NULL, &parsed, reterr);

    if (r)
        return r;
    if (!base) {
        empty = policy_new();
        if (!empty)
            return -ENOMEM;
    }
    r = policy_apply(base ? base : empty, parsed.changes, parsed.n, ret_policy);
    if (r == -ENOSPC || r == -EINVAL)
        return state_reject(reterr, "more records of a kind than are taken");
    *skipped += parsed.skipped;
    return r;
}

/* `next` gets its epoch and revision as soon as they are known: for the text of a refusal. */
static int apply_verified(const struct document *d, const struct policy *base,
                          const struct state_position *at, struct policy **ret_policy,
                          struct state_position *next, struct state_error *reterr)
{
    AUTO(header_deinit) struct header h = { 0 };
    AUTO(policy_unrefp) struct policy *empty = NULL;
    bool is_delta = d->kind == DOCUMENT_DELTA;
    struct span rest = d->bytes, line = state_cut_line(&rest);
    int r = header_read(d, is_delta ? delta_fields : snapshot_fields,
                        is_delta ? ARRAY_LEN(delta_fields) : ARRAY_LEN(snapshot_fields), line, &h,
                        reterr);

    next->epoch = d->epoch;
    next->revision = state_unsigned(h.revision);
    next->skipped = is_delta ? at->skipped : 0;
    if (r == 0)
        r = is_delta ? check_delta(&h, d, at, reterr) : check_snapshot(&h, d, at, reterr);
    if (r == 0 && is_delta && !base) {
        base = empty = policy_new();
        r = empty ? 0 : -ENOMEM;
    }
    if (r == 0)
        r = apply_lines(rest, &h, is_delta ? base : NULL, ret_policy, &next->skipped, reterr);
    if (is_delta)
        state_digest(d->bytes, next->digest);
    else
        memcpy(next->digest, h.digest, sizeof(next->digest));
    return r;
}

int state_apply(const struct document *d, const struct keyset *keys, const struct policy *base,
                const struct state_position *at, struct policy **ret_policy,
                struct state_position *ret_position, struct state_error *reterr)
{
    struct state_position next = { 0 };
    struct state_error inner;
    int r;

    if (d->kind != DOCUMENT_DELTA && d->kind != DOCUMENT_SNAPSHOT)
        return state_reject(reterr, "a %s where a delta or snapshot is expected",
                            document_kind_name(d->kind));
    if (d->kind == DOCUMENT_DELTA && d->bytes.n > 2 * STATE_DELTA_MAX)
        return state_reject(reterr, "delta: is too long");
    r = document_verify(d, d->kind, keys, reterr);
    if (r)
        return r;
    r = apply_verified(d, base, at, ret_policy, &next, &inner);
    if (r)
        return state_say_where(reterr, r, "%s %" PRIu64 ".%" PRIu64 ", %.200s",
                               document_kind_name(d->kind), next.epoch, next.revision, inner.text);
    *ret_position = next;
    return 0;
}
