#include "dataplane/sync/source.h"
#include "lib/base/encode.h"
#include "lib/crypto/file.h"
#include "lib/crypto/random.h"
#include "lib/json/json.h"
#include "lib/log/log.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define POLL_TIMEOUT_MS 10000       /* the control plane answers after 5 s at the latest */
#define WHOLE_TIMEOUT_MS 120000     /* a snapshot may be long, and the way to here thin */
#define RETRY_FIRST_MS 100
#define RETRY_MAX_MS 5000
#define REPLACED_MS 2000            /* by then the workers have let go of a policy that was replaced */
#define WHOLE_AGAIN_MS 60000        /* a snapshot is made once a minute at most */
#define KEYS_FILE "credential-keys"
#define COMPACT_BYTES ((size_t)64 << 20)        /* deltas on disk beyond which a snapshot is asked for */

struct source {
    struct source_config config;
    char *dir;
    struct policy *policy;
    struct policy *replaced;        /* as a whole; NULL: none, or long enough ago */
    struct loop_timer replaced_timer;
    struct state_position position;
    struct state_head head;         /* newest verified */
    struct credential_keys keys;
    struct loop_timer timer;
    uint32_t failures;
    bool is_reachable, is_from_disk, wants_keys;
    char keys_serial[24];           /* of the keys that we have; "": of one who does not tell */
    bool has_beat;                  /* the answer under way brought a newer signed head */
    bool has_asked_whole;           /* from 0.0, so that a snapshot takes the deltas' place on disk */
    size_t delta_bytes;             /* on disk behind the snapshot */
    uint64_t applied, refused;
    bool is_too_old;                /* what is published needs a newer program than this one */
    uint64_t whole_at_ms;           /* too old: when the whole state is asked for next */
    char last_error[256];
    enum reason last_reason;        /* of the last answer that was none */
};

static struct loop *loop_of(const struct source *s)
{
    return control_loop(s->config.control);
}

static void say_refused(struct source *s, enum reason why, const char *text)
{
    s->refused++;
    snprintf(s->last_error, sizeof(s->last_error), "%s", text);
    LOG(ERROR, "state.refused", R("reason", why), S("detail", text), U("epoch", s->position.epoch),
        U("revision", s->position.revision));
}

static void note_refused(struct source *s, const char *text)
{
    say_refused(s, REASON_STATE_REJECTED, text);
}

/* What needs a newer program stays in the deltas that lead on from here; once it is taken away again,
 * a snapshot is free of it. */
static void note_rejected(struct source *s, int r, const char *text)
{
    if (r != STATE_E_TOO_NEW) {
        note_refused(s, r < 0 ? strerror(-r) : text);
        return;
    }
    s->is_too_old = true;
    say_refused(s, REASON_RELAY_TOO_OLD, text);
    if (mono_ms() < s->whole_at_ms)
        return;
    s->whole_at_ms = mono_ms() + WHOLE_AGAIN_MS;
    s->delta_bytes = s->config.compact_bytes + 1;
}

static void note_skipped(const struct source *s, uint64_t before)
{
    if (s->position.skipped > before)
        LOG(WARNING, "state.skipped", U("records", s->position.skipped), U("epoch", s->position.epoch),
            U("revision", s->position.revision));
}

static bool has_state(const struct source *s)
{
    return s->position.epoch || s->position.revision;
}

static void on_replaced(void *arg)
{
    struct source *s = arg;

    policy_unref(TAKE(s->replaced));
}

/* Who lets go of a policy last frees all that no newer one shares.  After a change that is little;
 * where the whole was replaced it takes long, and no worker's streams shall wait for it. */
static void replace_policy(struct source *s, struct policy *policy, bool is_whole)
{
    struct policy *before = s->policy;

    s->policy = policy;
    if (!is_whole) {
        policy_unref(before);
        return;
    }
    policy_unref(s->replaced);
    s->replaced = before;
    timer_start(loop_of(s), &s->replaced_timer, REPLACED_MS, on_replaced, s);
}

static void publish(struct source *s)
{
    struct view *v;

    if (!has_state(s))
        return;                     /* keys alone are nothing to decide by */
    v = view_new(s->policy, &s->position, &s->keys);
    if (v)
        s->config.on_view(s->config.user, v);
    else
        LOG(ERROR, "state.no_memory", U("revision", s->position.revision));
}

/* --- credential keys: over mutual TLS, and on disk 0600, so that a relay that starts while
 * the control plane is away can still tell its users (they open nothing by themselves) ------- */

static const char *keys_path(const struct source *s, char dst[4096])
{
    snprintf(dst, 4096, "%s/%s", s->dir, KEYS_FILE);
    return dst;
}

static bool parse_key_line(struct credential_keys *keys, struct span hex)
{
    struct buf raw;

    if (keys->count == VIEW_KEYS_MAX)
        return true;                /* older ones than we keep */
    buf_init_fixed(&raw, keys->keys[keys->count], CREDENTIAL_KEY_LEN);
    if (!hex_decode(hex, &raw) || raw.len != CREDENTIAL_KEY_LEN)
        return false;
    keys->count++;
    return true;
}

static void load_keys(struct source *s)
{
    AUTO(buf_deinit) struct buf text = { 0 };
    struct span rest, line;
    char path[4096];

    buf_init_heap(&text, 4096);
    if (file_read(keys_path(s, path), 4096, &text))
        return;
    rest = buf_span(&text);
    while (span_cut(&rest, '\n', &line) && line.n)
        parse_key_line(&s->keys, line);
    secret_wipe(text.data, text.len);
}

static void save_keys(const struct source *s)
{
    char mem[VIEW_KEYS_MAX * (2 * CREDENTIAL_KEY_LEN + 1)], path[4096];
    struct buf text;
    int r;

    buf_init_fixed(&text, mem, sizeof(mem));
    for (size_t i = 0; i < s->keys.count; i++) {
        hex_encode(span_of(s->keys.keys[i], CREDENTIAL_KEY_LEN), &text);
        buf_put_u8(&text, '\n');
    }
    r = file_write_atomic(keys_path(s, path), buf_span(&text), 0600);
    if (r)
        LOG(WARNING, "state.keys_not_kept", S("path", path), E(r));
    secret_wipe(mem, sizeof(mem));
}

static bool decode_keys(const struct json_value *value, struct credential_keys *ret_keys)
{
    const struct json_value *list = json_get(value, "credential_keys");

    for (size_t i = 0; i < json_count(list); i++) {
        struct span hex;

        if (!json_get_str(json_at(list, i), "key", &hex) || !parse_key_line(ret_keys, hex))
            return false;
    }
    return true;
}

static bool take_keyset(struct source *s, struct span text)
{
    struct state_error error = { .text = "" };
    uint64_t before = s->config.member->keys ? keyset_serial(s->config.member->keys) : 0;

    if (member_keep_keyset(s->config.member, text, &error)) {
        note_refused(s, error.text);
        return false;
    }
    /* What is on disk is verified by it at the next start, and some of it may be of a key that ends. */
    if (before && has_state(s) && keyset_serial(s->config.member->keys) != before)
        s->delta_bytes = s->config.compact_bytes + 1;
    if (last_good_save_keyset(s->dir, text))
        LOG(WARNING, "state.keyset_not_kept", S("dir", s->dir));
    s->config.on_keyset(s->config.user, text, keyset_serial(s->config.member->keys));
    return true;
}

static bool take_relay_answer(struct source *s, struct span body)
{
    AUTO(json_value_freep) struct json_value *value = NULL;
    struct credential_keys keys = { .count = 0 };
    struct json_error error;
    struct span text, serial = SPAN("");

    if (json_parse(body, &value, &error) || !json_get_str(value, "keyset", &text) || !decode_keys(value, &keys)) {
        note_refused(s, "the control plane's answer to /internal/v1/relay is malformed");
        return false;
    }
    if (!take_keyset(s, text))
        return false;

    (void)json_get_str(value, "keys", &serial);
    (void)span_copy(serial, s->keys_serial, sizeof(s->keys_serial));
    if (!span_eq_secret(span_of(&keys, sizeof(keys)), span_of(&s->keys, sizeof(s->keys)))) {
        s->keys = keys;
        save_keys(s);
        publish(s);
    }
    secret_wipe(&keys, sizeof(keys));
    s->wants_keys = false;
    return true;
}

/* --- documents ------------------------------------------------------------------------------- */

static int keep(struct source *s, const struct document *d)
{
    if (d->kind == DOCUMENT_SNAPSHOT) {
        s->delta_bytes = 0;
        return last_good_save_snapshot(s->dir, d->whole);
    }
    s->delta_bytes += d->whole.n;
    return last_good_append_delta(s->dir, d->whole);
}

static void keep_or_say(struct source *s, const struct document *d)
{
    int r = keep(s, d);

    if (r)                          /* in force all the same: access taken away must end */
        LOG(ERROR, "state.not_kept", S("dir", s->dir), E(r));
}


static bool take_change(struct source *s, const struct document *d)
{
    struct state_error error = { .text = "" };
    struct state_position position;
    struct policy *policy;
    uint64_t skipped;
    int r = state_apply(d, s->config.member->keys, s->policy, &s->position, &policy, &position, &error);

    if (r == STATE_E_HAVE)
        return true;
    if (r) {
        note_rejected(s, r, error.text);
        return false;
    }

    replace_policy(s, policy, d->kind == DOCUMENT_SNAPSHOT);
    skipped = d->kind == DOCUMENT_SNAPSHOT ? 0 : s->position.skipped;
    s->position = position;
    s->is_too_old = false;
    s->applied++;
    note_skipped(s, skipped);
    keep_or_say(s, d);
    return true;
}

/* A beat is worth a write only now and then: after a restart the age is told from it. */
static bool take_head(struct source *s, const struct document *d)
{
    struct state_error error = { .text = "" };
    struct state_head head;
    bool is_news;
    int r = state_head_open(d, s->config.member->keys, &head, &error);

    if (!r)
        r = state_head_check(&s->head, &head, &error);
    if (r) {
        note_rejected(s, r, error.text);
        return false;
    }
    is_news = head.revision != s->head.revision || head.epoch != s->head.epoch ||
              head.time_ms > s->head.time_ms + 60000;
    s->has_beat = is_news || head.beat != s->head.beat;
    s->head = head;
    if (is_news && last_good_save_head(s->dir, d->whole))
        LOG(WARNING, "state.head_not_kept", S("dir", s->dir));
    return true;
}

static bool take_documents(struct source *s, struct span rest)
{
    struct state_error error = { .text = "" };
    struct document d;
    int r;

    while ((r = document_cut(&rest, &d, &error)) == 0) {
        bool is_good = d.kind == DOCUMENT_HEAD ? take_head(s, &d) : take_change(s, &d);

        if (!is_good)
            return false;
    }
    if (r != DOCUMENT_E_END)
        note_refused(s, r < 0 ? strerror(-r) : error.text);
    return r == DOCUMENT_E_END;
}

/* --- a whole state, so that what is on disk becomes short again --------------------------------- */

struct whole {
    struct policy *policy;          /* NULL: nothing yet */
    struct state_position position;
};

static void whole_deinit(struct whole *w)
{
    if (w->policy)
        policy_unref(w->policy);
}

static int build_whole(struct source *s, struct span rest, struct whole *w, struct state_error *reterr)
{
    struct document d;
    int r;

    while ((r = document_cut(&rest, &d, reterr)) == 0) {
        struct policy *next;

        if (d.kind == DOCUMENT_HEAD)
            continue;
        r = state_apply(&d, s->config.member->keys, w->policy, &w->position, &next, &w->position, reterr);
        if (r)
            return r;
        whole_deinit(w);
        w->policy = next;
    }
    return r == DOCUMENT_E_END ? 0 : r;
}

static bool is_older(const struct state_position *a, const struct state_position *b)
{
    return a->epoch != b->epoch ? a->epoch < b->epoch : a->revision < b->revision;
}

static void keep_whole(struct source *s, struct span rest)
{
    struct state_error error;
    struct document d;

    while (document_cut(&rest, &d, &error) == 0) {
        if (d.kind != DOCUMENT_HEAD)
            keep_or_say(s, &d);
    }
    s->delta_bytes = 0;             /* it got no shorter than this: not again until as much came */
}

/* Counts only as a whole, and only if it is not behind what is in force. */
static bool take_whole(struct source *s, struct span body)
{
    AUTO(whole_deinit) struct whole w = { .position = STATE_POSITION_NONE };
    struct state_error error = { .text = "the whole state is older than the one in force" };
    struct document d;
    struct span rest = body;
    int r = build_whole(s, body, &w, &error);

    s->delta_bytes = 0;             /* asked once; if it was refused, deltas go on as before */
    if (r || !w.policy || is_older(&w.position, &s->position)) {
        note_rejected(s, r, error.text);
        return false;
    }
    if (document_cut(&rest, &d, &error) || d.kind != DOCUMENT_HEAD || !take_head(s, &d))
        return false;

    replace_policy(s, TAKE(w.policy), true);
    s->position = w.position;
    s->is_too_old = false;
    s->applied++;
    note_skipped(s, 0);
    keep_whole(s, body);
    return true;
}

static bool is_level(const struct source *s)
{
    return s->position.epoch == s->head.epoch && s->position.revision == s->head.revision;
}

/* Only a newer signed head, and being level with it, says that we are fresh: what repeats an
 * old one proves nothing. */
static bool take_state(struct source *s, struct span body)
{
    struct state_position before = s->position;
    bool is_good = s->has_asked_whole ? take_whole(s, body) : take_documents(s, body);

    /* A rotation: its keys are asked for before anything is signed or hashed with them. */
    if (!span_eq(policy_setting(s->policy, "keys"), span_str(s->keys_serial)) &&
        policy_setting(s->policy, "keys").n)
        s->wants_keys = true;
    if (is_good && s->has_beat && is_level(s)) {
        s->has_beat = false;
        atomic_store_explicit(&s->config.freshness->heard_ms, mono_ms(), memory_order_relaxed);
    }
    if (before.epoch != s->position.epoch || before.revision != s->position.revision) {
        s->is_from_disk = false;
        LOG(INFO, "state.applied", U("epoch", s->position.epoch), U("revision", s->position.revision));
        publish(s);
    }
    return is_good;
}

/* --- asking ------------------------------------------------------------------------------------ */

static void ask(void *arg);

static void ask_later(struct source *s, bool is_good)
{
    uint64_t wait_ms = RETRY_FIRST_MS;

    if (is_good) {
        s->failures = 0;
        timer_start(loop_of(s), &s->timer, 0, ask, s);
        return;
    }
    for (uint32_t i = 0; i < s->failures && wait_ms < RETRY_MAX_MS; i++)
        wait_ms *= 2;
    s->failures++;
    timer_start(loop_of(s), &s->timer, wait_ms / 2 + random_u64() % wait_ms, ask, s);
}

/* Once for each change of mind or of reason, not for each try. */
static void note_reachable(struct source *s, const struct control_answer *answer)
{
    bool is_reachable = answer->status >= 200 && answer->status < 300;
    bool is_same_reason = is_reachable || answer->reason == s->last_reason;

    if (is_reachable == s->is_reachable && s->failures != 0 && is_same_reason)
        return;
    s->last_reason = answer->reason;
    if (is_reachable && !s->is_reachable)
        LOG(INFO, "control.reached", U("revision", s->position.revision));
    if (!is_reachable)
        LOG(WARNING, "control.unreachable", U("status", answer->status), R("reason", answer->reason),
            S("detail", answer->text), U("revision", s->position.revision));
    if (!is_reachable && !s->is_too_old)
        snprintf(s->last_error, sizeof(s->last_error), "%s: %s", reason_text(answer->reason), answer->text);
    s->is_reachable = is_reachable;
}

static void on_state(void *user, const struct control_answer *answer)
{
    struct source *s = user;

    note_reachable(s, answer);
    ask_later(s, s->is_reachable && take_state(s, answer->body));
    if (!s->is_reachable || s->failures)
        s->wants_keys = true;       /* perhaps a key set that we do not know yet */
}

static void on_relay(void *user, const struct control_answer *answer)
{
    struct source *s = user;

    note_reachable(s, answer);
    ask_later(s, s->is_reachable && take_relay_answer(s, answer->body));
}

static void ask(void *arg)
{
    struct source *s = arg;
    char path[96];
    bool wants_whole = s->delta_bytes > s->config.compact_bytes;
    uint32_t timeout_ms = wants_whole || !has_state(s) ? WHOLE_TIMEOUT_MS : POLL_TIMEOUT_MS;
    int r;

    if (s->wants_keys) {
        r = control_send(s->config.control, "/internal/v1/relay", SPAN_NONE, 1 << 20, POLL_TIMEOUT_MS, on_relay, s);
    } else {
        s->has_asked_whole = wants_whole;
        snprintf(path, sizeof(path), "/internal/v1/state?after=%llu.%llu",
                 wants_whole ? 0 : (unsigned long long)s->position.epoch,
                 wants_whole ? 0 : (unsigned long long)s->position.revision);
        r = control_send(s->config.control, path, SPAN_NONE, DOCUMENT_SIZE_MAX, timeout_ms, on_state, s);
    }
    if (r)
        ask_later(s, false);
}

/* --- making it ------------------------------------------------------------------------------------ */

/* After a restart the head's own time tells how old the state is. */
static void note_age_of_disk(struct source *s)
{
    uint64_t now_ms = wall_ms(), mono_now_ms = mono_ms();
    uint64_t age_ms = now_ms > (uint64_t)s->head.time_ms ? now_ms - (uint64_t)s->head.time_ms : 0;

    if (s->head.time_ms > 0)
        atomic_store(&s->config.freshness->heard_ms, mono_now_ms > age_ms ? mono_now_ms - age_ms : 1);
}

static int load_disk(struct source *s)
{
    AUTO(key_freep) struct key *root = NULL;
    struct state_error error = { .text = "" };
    const struct member *m = s->config.member;
    struct last_good good = { 0 };
    int r = chain_public_key(m->chain, chain_length(m->chain) - 1, &root);

    if (!r)
        r = last_good_load(s->dir, m->trust.cluster, root, &good, &error);
    if (r > 0) {
        note_rejected(s, r, error.text);    /* not ours or changed: asked for anew */
        return 0;
    }
    if (r)
        return r;

    if (good.policy) {
        policy_unref(s->policy);
        s->policy = policy_ref(good.policy);
        s->position = good.position;
        s->head = good.head;
        s->delta_bytes = good.state_bytes;      /* the snapshot's too: at most one asking too many */
        s->is_from_disk = true;
        note_age_of_disk(s);
        LOG(INFO, "state.from_disk", U("epoch", s->position.epoch), U("revision", s->position.revision));
        publish(s);
    }
    last_good_deinit(&good);
    return 0;
}

int source_new(const struct source_config *config, struct source **ret_source, struct buf *reterr)
{
    AUTO(source_freep) struct source *s = calloc(1, sizeof(*s));
    int r;

    if (!s)
        return -ENOMEM;
    s->config = *config;
    s->config.compact_bytes = config->compact_bytes ? config->compact_bytes : COMPACT_BYTES;
    s->dir = span_dup(span_str(config->dir));
    s->position = STATE_POSITION_NONE;
    s->policy = policy_new();
    s->wants_keys = true;
    if (!s->policy || !s->dir)
        return -ENOMEM;

    r = dir_make(s->dir, 0700);
    if (!r) {
        load_keys(s);
        r = load_disk(s);
    }
    if (r) {
        buf_printf(reterr, "cannot use the state directory %s: %s", config->dir, strerror(-r));
        return r;
    }
    timer_start(loop_of(s), &s->timer, 0, ask, s);
    *ret_source = TAKE(s);
    return 0;
}

void source_free(struct source *s)
{
    timer_stop(&s->timer);
    timer_stop(&s->replaced_timer);
    policy_unref(s->policy);
    policy_unref(s->replaced);
    secret_wipe(&s->keys, sizeof(s->keys));
    free(s->dir);
    free(s);
}

void source_status(const struct source *s, struct source_status *ret_status)
{
    *ret_status = (struct source_status){
        .position = s->position,
        .age_ms = freshness_age_ms(s->config.freshness, mono_ms()),
        .is_reachable = s->is_reachable,
        .has_keys = s->keys.count > 0,
        .is_from_disk = s->is_from_disk,
        .is_too_old = s->is_too_old,
        .applied = s->applied,
        .refused = s->refused,
    };
    memcpy(ret_status->last_error, s->last_error, sizeof(s->last_error));
}
