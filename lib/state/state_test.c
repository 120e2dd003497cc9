#include "lib/state/last_good.h"
#include "lib/check/alloc.h"
#include "lib/check/check.h"
#include "lib/crypto/ca.h"
#include "lib/crypto/file.h"
#include "lib/state/agentpolicy.h"
#include <stdio.h>
#include <sys/stat.h>

#define U(n) "0000000000000000000000000" #n
#define GROUP_LINE(n, name) "+group " U(n) " {\"name\":\"" name "\"}\n"

static struct key *root, *signer, *stranger;
static struct keyset *keys;
static char dir[] = "/tmp/adit-state-test.XXXXXX";

static struct keyset *make_keyset(struct key *by, uint64_t serial)
{
    struct key *const all[] = { signer };
    struct keyset *k = NULL;
    struct state_error e = { "" };
    char mem[4096];
    struct buf out;

    buf_init_fixed(&out, mem, sizeof(mem));
    assert_int_equal(keyset_sign("adit", serial, all, 1, by, &out), 0);
    if (keyset_open(buf_span(&out), "adit", root, &k, &e))
        return NULL;
    return k;
}

static int set_up(void **state)
{
    (void)state;
    assert_int_equal(key_generate(&root), 0);
    assert_int_equal(key_generate(&signer), 0);
    assert_int_equal(key_generate(&stranger), 0);
    keys = make_keyset(root, 7);
    return keys && mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    keyset_unref(keys);
    key_free(root);
    key_free(signer);
    key_free(stranger);
    return rmdir(dir);
}

static size_t count_lines(const char *lines)
{
    size_t n = 0;

    for (; *lines; lines++)
        n += *lines == '\n';
    return n;
}

/* Signs into `out` (cleared first). */
static void sign(enum document_kind kind, uint64_t epoch, uint64_t revision, uint64_t after,
                 const char *digest, const char *lines, struct buf *out, char *ret_digest)
{
    struct state_change c = { .epoch = epoch, .revision = revision, .after = after,
                              .lines = span_str(lines), .count = count_lines(lines) };

    buf_clear(out);
    snprintf(c.digest, sizeof(c.digest), "%s", digest);
    if (kind == DOCUMENT_DELTA)
        assert_int_equal(state_delta_sign("adit", &c, signer, out, ret_digest), 0);
    else
        assert_int_equal(state_snapshot_sign("adit", &c, signer, out), 0);
}

static int apply(struct span text, struct policy **policy, struct state_position *at,
                 struct state_error *e)
{
    struct policy *next = NULL;
    struct document d;
    int r = document_cut(&text, &d, e);

    if (r == 0 && text.n > 0)
        return DOCUMENT_E_REJECTED;
    if (r == 0)
        r = state_apply(&d, keys, *policy, at, &next, at, e);
    if (r)
        return r;
    policy_unref(*policy);
    *policy = next;
    return 0;
}

struct world {
    struct policy *policy;
    struct state_position at;
    struct buf text;
    char digest[65];
};

/* A snapshot of 3.10 with two groups is in force. */
static void world_init(struct world *w)
{
    struct state_error e = { "" };

    *w = (struct world){ .at = STATE_POSITION_NONE };
    buf_init_heap(&w->text, 1 << 20);
    memset(w->digest, 'a', 64);
    sign(DOCUMENT_SNAPSHOT, 3, 10, 0, w->digest, GROUP_LINE(1, "one") GROUP_LINE(2, "two"), &w->text, NULL);
    assert_int_equal(apply(buf_span(&w->text), &w->policy, &w->at, &e), 0);
    assert_int_equal(policy_count(w->policy, RECORD_GROUP), 2);
    assert_int_equal(w->at.revision, 10);
}

static void world_deinit(struct world *w)
{
    policy_unref(w->policy);
    buf_deinit(&w->text);
}

static void test_deltas(void **state)
{
    struct world w;
    struct state_error e = { "" };
    char digest[65];

    (void)state;
    world_init(&w);
    check_row("applies the delta that follows");
    sign(DOCUMENT_DELTA, 3, 11, 10, w.at.digest, "-group " U(1) "\n" GROUP_LINE(3, "three") GROUP_LINE(2, "zwei"), &w.text, digest);
    assert_int_equal(apply(buf_span(&w.text), &w.policy, &w.at, &e), 0);
    assert_string_equal(w.at.digest, digest);
    assert_null(policy_find(w.policy, RECORD_GROUP, SPAN(U(1))));
    assert_non_null(policy_find_name(w.policy, RECORD_GROUP, SPAN("zwei")));
    assert_null(policy_find_name(w.policy, RECORD_GROUP, SPAN("two")));
    check_row("knows that it has it");
    assert_int_equal(apply(buf_span(&w.text), &w.policy, &w.at, &e), STATE_E_HAVE);
    check_row("applies one that spans several revisions");
    sign(DOCUMENT_DELTA, 3, 15, 11, w.at.digest, "", &w.text, digest);
    assert_int_equal(apply(buf_span(&w.text), &w.policy, &w.at, &e), 0);
    check_row("takes a new epoch's smaller revision by snapshot");
    sign(DOCUMENT_SNAPSHOT, 4, 2, 0, w.digest, GROUP_LINE(9, "nine"), &w.text, NULL);
    assert_int_equal(apply(buf_span(&w.text), &w.policy, &w.at, &e), 0);
    assert_int_equal(policy_count(w.policy, RECORD_GROUP), 1);
    check_row("begins from nothing with a delta");
    policy_unref(TAKE(w.policy));
    w.at = STATE_POSITION_NONE;
    sign(DOCUMENT_DELTA, 1, 1, 0, STATE_DIGEST_NONE, GROUP_LINE(9, "nine"), &w.text, digest);
    assert_int_equal(apply(buf_span(&w.text), &w.policy, &w.at, &e), 0);
    world_deinit(&w);
}

/* On 3.10 with digest "aaa…". */
static void test_refused(void **state)
{
    static const char other[] = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
    static const struct {
        const char *it;
        enum document_kind kind;
        uint64_t epoch, revision, after;
        const char *digest, *lines, *text;
        bool is_too_new;
    } rows[] = {
        { "refuses an older delta", DOCUMENT_DELTA, 3, 9, 8, NULL, "", "older than 3.10" },
        { "refuses an older epoch", DOCUMENT_DELTA, 2, 99, 10, NULL, "", "older than 3.10" },
        { "refuses the same revision with other bytes", DOCUMENT_DELTA, 3, 10, 9, NULL, "", "same revision with other bytes" },
        { "refuses a gap", DOCUMENT_DELTA, 3, 12, 11, NULL, "", "gap: follows 11, not 10" },
        { "refuses a delta of a new epoch", DOCUMENT_DELTA, 4, 11, 10, NULL, "", "gap" },
        { "refuses what follows another", DOCUMENT_DELTA, 3, 11, 10, other, "", "follows another" },
        { "refuses an older snapshot", DOCUMENT_SNAPSHOT, 3, 9, 0, NULL, "", "older than 3.10" },
        { "refuses a snapshot of an older epoch", DOCUMENT_SNAPSHOT, 2, 99, 0, NULL, "", "older than 3.10" },
        { "refuses another snapshot of the revision", DOCUMENT_SNAPSHOT, 3, 10, 0, other, "", "other bytes" },
        { "refuses a removal in a snapshot", DOCUMENT_SNAPSHOT, 3, 11, 0, NULL, "-group " U(1) "\n", "line 2" },
        { "refuses an unknown kind", DOCUMENT_DELTA, 3, 11, 10, NULL, GROUP_LINE(1, "ok") "+thing " U(1) " {}\n", "line 3, the kind thing is not known", true },
        { "refuses the removal of an unknown kind", DOCUMENT_DELTA, 3, 11, 10, NULL, "-thing " U(1) "\n", "line 2, the kind thing is not known", true },
        { "refuses an unknown field", DOCUMENT_DELTA, 3, 11, 10, NULL, "+group " U(1) " {\"name\":\"a\",\"mood\":1}\n", "line 2, field mood: is not known", true },
        { "refuses an unknown name of a field", DOCUMENT_DELTA, 3, 11, 10, NULL, "+cut " U(1) " {\"kind\":\"moon\",\"target\":\"x\",\"before_ms\":1}\n", "line 2, field kind", true },
        { "refuses a mark alone", DOCUMENT_DELTA, 3, 11, 10, NULL, "+? " U(1) " {}\n", "line 2, is malformed" },
        { "refuses a marked kind of other letters", DOCUMENT_DELTA, 3, 11, 10, NULL, "+Thing? " U(1) " {}\n", "line 2, is malformed" },
        { "refuses a marked kind without an object", DOCUMENT_DELTA, 3, 11, 10, NULL, "+thing? " U(1) "\n", "line 2, is malformed" },
        { "refuses a marked kind that is malformed", DOCUMENT_DELTA, 3, 11, 10, NULL, "+group? " U(1) " {}\n", "field name: is missing" },
        { "names line and field", DOCUMENT_DELTA, 3, 11, 10, NULL, GROUP_LINE(1, "ok") "+group " U(2) " {\"name\":\"NO\"}\n", "delta 3.11, line 3, field name" },
        { "refuses a line without id", DOCUMENT_DELTA, 3, 11, 10, NULL, "-group\n", "line 2, is malformed" },
        { "refuses a removal with a body", DOCUMENT_DELTA, 3, 11, 10, NULL, "-group " U(1) " {}\n", "line 2, is malformed" },
        { "refuses an empty line", DOCUMENT_DELTA, 3, 11, 10, NULL, "\n\n\n\n\n", "" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct state_error e = { "" };
        struct state_position was;
        struct policy *before;
        struct world w;

        check_row(rows[i].it);
        world_init(&w);
        was = w.at;
        before = w.policy;
        sign(rows[i].kind, rows[i].epoch, rows[i].revision, rows[i].after,
             rows[i].digest ? rows[i].digest : w.digest, rows[i].lines, &w.text, w.digest);
        assert_int_equal(apply(buf_span(&w.text), &w.policy, &w.at, &e), rows[i].is_too_new ? STATE_E_TOO_NEW : STATE_E_REJECTED);
        assert_non_null(strstr(e.text, rows[i].text));
        check_row("changes nothing then");
        assert_ptr_equal(w.policy, before);
        assert_true(w.at.epoch == was.epoch && w.at.revision == was.revision);
        assert_string_equal(w.at.digest, was.digest);
        assert_int_equal(policy_count(w.policy, RECORD_GROUP), 2);
        world_deinit(&w);
    }
}

/* What a newer control plane marks is skipped by who does not know it, and counted. */
static void test_skipped(void **state)
{
#define WEATHER(n) "+weather? " U(n) " {\"name\":\"rain\"}\n"
    static const struct { const char *it; enum document_kind kind; const char *lines; size_t groups; uint64_t skipped; } rows[] = {
        { "skips what is marked", DOCUMENT_DELTA, WEATHER(1) GROUP_LINE(3, "three") WEATHER(2), 3, 2 },
        { "skips its removal, which is no record", DOCUMENT_DELTA, "-weather? " U(1) "\n-group " U(1) "\n", 2, 2 },
        { "goes on counting", DOCUMENT_DELTA, WEATHER(3), 2, 3 },
        { "takes a known kind with the mark", DOCUMENT_DELTA, "+group? " U(4) " {\"name\":\"four\"}\n", 3, 3 },
        { "counts anew from a snapshot", DOCUMENT_SNAPSHOT, WEATHER(1) GROUP_LINE(3, "three"), 1, 1 },
    };
    struct state_error e = { "" };
    struct world w;
    uint64_t revision = 10;

    (void)state;
    world_init(&w);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++, revision++) {
        check_row(rows[i].it);
        sign(rows[i].kind, 3, revision + 1, revision, w.at.digest, rows[i].lines, &w.text, w.digest);
        assert_int_equal(apply(buf_span(&w.text), &w.policy, &w.at, &e), 0);
        assert_int_equal(policy_count(w.policy, RECORD_GROUP), rows[i].groups);
        assert_int_equal(w.at.skipped, rows[i].skipped);
    }
    world_deinit(&w);
}

/* Headers that the writer would not make. */
static void test_foreign_headers(void **state)
{
#define HEAD(format, cluster, epoch, extra, count) \
    "{\"format\":" format ",\"cluster\":\"" cluster "\",\"epoch\":" epoch ",\"revision\":11,\"after\":10,\"digest\":" \
    "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"" extra ",\"count\":" count "}\n"
    static const struct { const char *it, *bytes, *text; bool is_too_new; } rows[] = {
        { "takes the plain one", HEAD("1", "adit", "3", "", "0"), NULL },
        { "skips what it does not know", HEAD("1", "adit", "3", ",\"mood\":1", "0"), NULL },
        { "refuses another format", HEAD("2", "adit", "3", "", "0"), "format 2", true },
        { "refuses another cluster inside", HEAD("1", "other", "3", "", "0"), "differ from the first line" },
        { "refuses another epoch inside", HEAD("1", "adit", "4", "", "0"), "differ from the first line" },
        { "refuses an unknown critical feature", HEAD("1", "adit", "3", ",\"critical\":[\"teleport\"]", "0"), "unknown critical feature teleport", true },
        { "refuses a count that is too large", HEAD("1", "adit", "3", "", "1"), "count" },
        { "refuses a huge count", HEAD("1", "adit", "3", "", "9000000000000000000"), "count" },
        { "refuses a count that is too small", HEAD("1", "adit", "3", "", "0") GROUP_LINE(1, "x"), "count" },
        { "refuses a cut last line", HEAD("1", "adit", "3", "", "1") "-group " U(1), "line 2: is cut short" },
        { "refuses no header", "", "" },
        { "refuses what is no JSON", "adit\n", "" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct state_error e = { "" };
        struct world w;
        int r;

        check_row(rows[i].it);
        world_init(&w);
        buf_clear(&w.text);
        assert_int_equal(document_sign(DOCUMENT_DELTA, "adit", 3, signer, span_str(rows[i].bytes), &w.text), 0);
        r = apply(buf_span(&w.text), &w.policy, &w.at, &e);
        assert_int_equal(r, !rows[i].text ? 0 : rows[i].is_too_new ? STATE_E_TOO_NEW : STATE_E_REJECTED);
        if (rows[i].text)
            assert_non_null(strstr(e.text, rows[i].text));
        world_deinit(&w);
    }
}

static void test_every_byte(void **state)
{
    struct world w;
    struct state_error e;

    (void)state;
    world_init(&w);
    sign(DOCUMENT_DELTA, 3, 11, 10, w.digest, GROUP_LINE(3, "three"), &w.text, w.digest);
    check_row("refuses it with any byte flipped");
    for (size_t i = 0; i < w.text.len; i++) {
        for (unsigned bit = 0; bit < 8; bit += 3) {
            w.text.data[i] ^= (unsigned char)(1u << bit);
            assert_int_equal(apply(buf_span(&w.text), &w.policy, &w.at, &e), STATE_E_REJECTED);
            w.text.data[i] ^= (unsigned char)(1u << bit);
        }
    }
    check_row("refuses it cut anywhere");
    for (size_t n = 1; n < w.text.len; n++)
        assert_int_equal(apply(span_first(buf_span(&w.text), n), &w.policy, &w.at, &e), STATE_E_REJECTED);
    check_row("takes it whole");
    assert_int_equal(apply(buf_span(&w.text), &w.policy, &w.at, &e), 0);
    world_deinit(&w);
}

static void test_signers(void **state)
{
    struct world w;
    struct state_error e = { "" };
    struct state_change c = { .epoch = 3, .revision = 11, .after = 10 };
    char digest[65];
    struct span text;
    struct document d;

    (void)state;
    world_init(&w);
    memcpy(c.digest, w.digest, sizeof(c.digest));
    check_row("refuses a foreign key");
    buf_clear(&w.text);
    assert_int_equal(state_delta_sign("adit", &c, stranger, &w.text, digest), 0);
    assert_int_equal(apply(buf_span(&w.text), &w.policy, &w.at, &e), STATE_E_REJECTED);
    assert_non_null(strstr(e.text, "not in key set 7"));
    check_row("refuses the root's key for state");
    buf_clear(&w.text);
    assert_int_equal(state_delta_sign("adit", &c, root, &w.text, digest), 0);
    assert_int_equal(apply(buf_span(&w.text), &w.policy, &w.at, &e), STATE_E_REJECTED);
    check_row("refuses another cluster's");
    buf_clear(&w.text);
    assert_int_equal(state_delta_sign("other", &c, signer, &w.text, digest), 0);
    assert_int_equal(apply(buf_span(&w.text), &w.policy, &w.at, &e), STATE_E_REJECTED);
    assert_non_null(strstr(e.text, "for cluster other"));
    check_row("refuses a delta shown as a snapshot");
    buf_clear(&w.text);
    assert_int_equal(state_delta_sign("adit", &c, signer, &w.text, digest), 0);
    text = buf_span(&w.text);
    assert_int_equal(document_cut(&text, &d, &e), 0);
    d.kind = DOCUMENT_SNAPSHOT;
    assert_int_equal(document_verify(&d, DOCUMENT_SNAPSHOT, keys, &e), DOCUMENT_E_REJECTED);
    check_row("refuses a key set that the root did not sign");
    assert_null(make_keyset(stranger, 8));
    world_deinit(&w);
}

static void test_pinned_keyset(void **state)
{
    AUTO(ca_freep) struct ca *ca = NULL, *other = NULL;
    AUTO(keyset_unrefp) struct keyset *k = NULL;
    struct key *const all[] = { signer };
    char pin[SHA256_HEX], mem[4096];
    struct state_error e;
    struct buf pem, text;

    (void)state;
    buf_init_heap(&pem, CERT_PEM_MAX);
    buf_init_fixed(&text, mem, sizeof(mem));
    assert_int_equal(ca_new_root("adit", 0, 4000000000, &ca), 0);
    assert_int_equal(ca_new_root("adit", 0, 4000000000, &other), 0);
    assert_int_equal(keyset_sign("adit", 1, all, 1, ca_key(ca), &text), 0);
    assert_int_equal(chain_root_pin(ca_chain(ca), pin), 0);
    assert_int_equal(chain_root_pem(ca_chain(ca), &pem), 0);
    check_row("opens by the pinned root");
    assert_int_equal(keyset_open_pinned(buf_span(&text), "adit", buf_span(&pem), pin, &k, &e), 0);
    assert_int_equal(keyset_serial(k), 1);
    check_row("refuses another root, another cluster, no certificate");
    keyset_unref(TAKE(k));
    assert_int_equal(keyset_open_pinned(buf_span(&text), "other", buf_span(&pem), pin, &k, &e), DOCUMENT_E_REJECTED);
    buf_clear(&pem);
    assert_int_equal(chain_root_pem(ca_chain(other), &pem), 0);
    assert_int_equal(keyset_open_pinned(buf_span(&text), "adit", buf_span(&pem), pin, &k, &e), DOCUMENT_E_REJECTED);
    assert_int_equal(keyset_open_pinned(buf_span(&text), "adit", SPAN("x"), pin, &k, &e), DOCUMENT_E_REJECTED);
    buf_deinit(&pem);
}

static struct state_head head_of(uint64_t epoch, uint64_t revision, uint64_t beat, char digest)
{
    struct state_head h = { .epoch = epoch, .revision = revision, .beat = beat, .term = 1, .time_ms = 5 };

    memset(h.digest, digest, 64);
    return h;
}

static void test_heads(void **state)
{
    static const struct { const char *it; uint64_t epoch, revision, beat; char digest; int want; } rows[] = {
        { "takes the next beat", 3, 10, 6, 'a', 0 },
        { "takes the same head", 3, 10, 5, 'a', 0 },
        { "takes a newer revision with a lower beat", 3, 11, 1, 'b', 0 },
        { "takes a newer epoch with a lower revision", 4, 1, 0, 'b', 0 },
        { "refuses an older beat", 3, 10, 4, 'a', DOCUMENT_E_REJECTED },
        { "refuses an older revision", 3, 9, 9, 'a', DOCUMENT_E_REJECTED },
        { "refuses an older epoch", 2, 11, 9, 'a', DOCUMENT_E_REJECTED },
        { "refuses another digest of the revision", 3, 10, 6, 'b', DOCUMENT_E_REJECTED },
    };
    const struct state_head newest = head_of(3, 10, 5, 'a');

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct state_head h = head_of(rows[i].epoch, rows[i].revision, rows[i].beat, rows[i].digest), got;
        struct state_error e;
        struct document d;
        struct span text;
        char mem[1024];
        struct buf out;

        check_row(rows[i].it);
        buf_init_fixed(&out, mem, sizeof(mem));
        assert_int_equal(state_head_sign("adit", &h, signer, &out), 0);
        text = buf_span(&out);
        assert_int_equal(document_cut(&text, &d, &e), 0);
        assert_int_equal(state_head_open(&d, keys, &got, &e), 0);
        assert_string_equal(got.digest, h.digest);
        assert_true(got.epoch == h.epoch && got.revision == h.revision && got.beat == h.beat &&
                    got.term == h.term && got.time_ms == h.time_ms);
        assert_int_equal(state_head_check(&newest, &got, &e), rows[i].want);
    }
}

static void load(struct last_good *s, int want)
{
    struct state_error e = { "" };
    int r = last_good_load(dir, "adit", root, s, &e);

    if (r != want)
        fail_msg("load: %d %s", r, e.text);
}

static const char *path_of(const char *name)
{
    static char path[256];

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

static void test_last_good(void **state)
{
    struct key *const all[] = { signer };
    const struct state_head head = head_of(3, 11, 5, 'a');
    struct last_good s;
    struct world w;
    struct stat st;
    char digest[65];

    (void)state;
    world_init(&w);
    check_row("is empty before anything was saved");
    load(&s, 0);
    assert_null(s.policy);
    check_row("finds what was saved, 0600");
    assert_int_equal(last_good_save_snapshot(dir, buf_span(&w.text)), 0);
    buf_clear(&w.text);
    assert_int_equal(keyset_sign("adit", 7, all, 1, root, &w.text), 0);
    assert_int_equal(last_good_save_keyset(dir, buf_span(&w.text)), 0);
    buf_clear(&w.text);
    assert_int_equal(state_head_sign("adit", &head, signer, &w.text), 0);
    assert_int_equal(last_good_save_head(dir, buf_span(&w.text)), 0);
    sign(DOCUMENT_DELTA, 3, 11, 10, w.digest, GROUP_LINE(3, "three"), &w.text, digest);
    assert_int_equal(last_good_append_delta(dir, buf_span(&w.text)), 0);
    assert_int_equal(stat(path_of("state"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    load(&s, 0);
    assert_int_equal(s.position.revision, 11);
    assert_int_equal(policy_count(s.policy, RECORD_GROUP), 3);
    assert_int_equal(s.head.beat, 5);
    assert_int_equal(s.state_bytes, st.st_size);
    last_good_deinit(&s);
    check_row("drops an append that a crash cut, and goes on after it");
    sign(DOCUMENT_DELTA, 3, 12, 11, digest, GROUP_LINE(4, "four"), &w.text, digest);
    assert_int_equal(last_good_append_delta(dir, span_first(buf_span(&w.text), w.text.len - 5)), 0);
    load(&s, 0);
    assert_int_equal(s.position.revision, 11);
    last_good_deinit(&s);
    assert_int_equal(last_good_append_delta(dir, buf_span(&w.text)), 0);
    load(&s, 0);
    assert_int_equal(s.position.revision, 12);
    last_good_deinit(&s);
    check_row("refuses a changed file");
    buf_clear(&w.text);
    assert_int_equal(file_read(path_of("state"), 1 << 20, &w.text), 0);
    w.text.data[w.text.len / 2] ^= 1;
    assert_int_equal(file_write_atomic(path_of("state"), buf_span(&w.text), 0600), 0);
    load(&s, STATE_E_REJECTED);
    unlink(path_of("state"));
    unlink(path_of("head"));
    unlink(path_of("keyset"));
    world_deinit(&w);
}

struct applied {
    struct world w;
    struct document d;
};

static int apply_once(void *data)
{
    struct applied *a = data;
    struct state_position at = a->w.at;
    struct policy *next = NULL;
    struct state_error e;
    int r = state_apply(&a->d, keys, a->w.policy, &at, &next, &at, &e);

    policy_unref(next);
    return r;
}

static void test_want_of_memory(void **state)
{
    struct applied a;
    struct state_error e;
    struct span text;

    (void)state;
    world_init(&a.w);
    sign(DOCUMENT_DELTA, 3, 11, 10, a.w.digest, GROUP_LINE(3, "three") "-group " U(1) "\n"
         "+profile " U(4) " {\"name\":\"p\",\"hosts\":[\"a.b\",\"*.c\"],\"ports\":[\"80\"]}\n", &a.w.text, a.w.digest);
    text = buf_span(&a.w.text);
    assert_int_equal(document_cut(&text, &a.d, &e), 0);
    check_row("changes nothing for want of memory, and leaks nothing");
    check_each_alloc(apply_once, &a);
    world_deinit(&a.w);
}

static void add_rule(struct agent_reach *reach, const char *text, bool resolved, bool lifts)
{
    struct acl_rule rule = { 0 };
    struct reach_rule r = { .match_resolved = resolved, .allow_special = lifts };

    assert_int_equal(acl_rule_parse(span_str(text), &rule), 0);
    r.host = rule.host;
    r.port_count = rule.port_count;
    memcpy(r.ports, rule.ports, sizeof(r.ports));
    assert_int_equal(agent_reach_add(reach, &r), 0);
}

static void test_agentpolicy(void **state)
{
    AUTO(agent_reach_freep) struct agent_reach *reach = agent_reach_new(), *got = NULL;
    struct agentpolicy_header h = { .epoch = 3, .revision = 10, .agent = U(1) }, seen, newer = h;
    const struct addr a = addr_v4(10, 0, 0, 1);
    struct state_error e = { "" };
    struct target t;
    struct buf out;
    bool lifts;

    (void)state;
    buf_init_heap(&out, AGENTPOLICY_MAX);
    add_rule(reach, "db.x:5432", false, false);
    add_rule(reach, "10.0.0.0/8:1-100", true, true);
    add_rule(reach, "unix:/run/demo.sock", false, true);
    agent_reach_finish(reach);
    assert_int_equal(agentpolicy_sign("adit", &h, reach, signer, &out), 0);
    check_row("gives the rules to the agent that it names");
    if (agentpolicy_open(buf_span(&out), keys, U(1), &h, &seen, &got, &e))
        fail_msg("%s", e.text);
    assert_int_equal(agent_reach_count(got), 3);
    assert_true(target_parse(SPAN("any.where"), 100, &t));
    assert_true(agent_reach_allows(got, &t, &a, &lifts));
    assert_true(lifts);
    t.port = 101;
    assert_false(agent_reach_allows(got, &t, &a, &lifts));
    assert_true(agent_reach_allows_unix(got, SPAN("/run/demo.sock")));
    check_row("refuses another agent's, an older one, a changed one");
    agent_reach_free(TAKE(got));
    assert_int_equal(agentpolicy_open(buf_span(&out), keys, U(2), NULL, &seen, &got, &e), DOCUMENT_E_REJECTED);
    newer.revision++;
    assert_int_equal(agentpolicy_open(buf_span(&out), keys, U(1), &newer, &seen, &got, &e), DOCUMENT_E_REJECTED);
    out.data[out.len - 2] ^= 1;
    assert_int_equal(agentpolicy_open(buf_span(&out), keys, U(1), NULL, &seen, &got, &e), DOCUMENT_E_REJECTED);
    buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deltas),          cmocka_unit_test(test_refused), cmocka_unit_test(test_skipped),
        cmocka_unit_test(test_foreign_headers), cmocka_unit_test(test_every_byte),
        cmocka_unit_test(test_signers),         cmocka_unit_test(test_pinned_keyset),
        cmocka_unit_test(test_heads),           cmocka_unit_test(test_last_good),
        cmocka_unit_test(test_agentpolicy),     cmocka_unit_test(test_want_of_memory),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
