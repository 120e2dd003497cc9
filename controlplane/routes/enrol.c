#include "controlplane/routes/enrol.h"
#include "controlplane/routes/change.h"
#include "controlplane/routes/doc.h"
#include "controlplane/routes/tell.h"
#include "lib/crypto/digest.h"
#include "lib/log/log.h"
#include "lib/state/join.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define LOST_ANSWER_MS (10 * 60 * 1000)         /* the generation before may ask again so long */
#define ANSWER_MAX (64 * 1024)

struct enrolment {
    const struct enrol *e;
    struct store_tx *tx;
    int64_t now_ms;
    char csr_hash[SHA256_HEX];
    const char *trace_id;
    struct enrolled *out;
    enum reason why;                    /* the refusal, when a step answers 1 */
    bool is_refusal_kept;               /* commit all the same: the lock and its event */
};

void enrolled_deinit(struct enrolled *e)
{
    buf_deinit(&e->chain_pem);
}

static int refuse(struct enrolment *n, enum reason why)
{
    n->why = why;
    return 1;
}

static const struct kind *kind_of(enum cert_kind kind)
{
    return kind_at(kind == CERT_RELAY ? KIND_RELAY : KIND_AGENT);
}

/* ---- the kept answer: id, name, chain, a line each ---- */

static int keep_answer(struct enrolment *n, const struct ulid *owner)
{
    AUTO(buf_deinit) struct buf answer;

    buf_init_heap(&answer, ANSWER_MAX);
    buf_printf(&answer, "%s %s\n", n->out->id.text, n->out->name);
    buf_put_span(&answer, buf_span(&n->out->chain_pem));
    if (buf_error(&answer))
        return buf_error(&answer);
    return store_join_answer(n->tx, owner, span_str(n->csr_hash), buf_span(&answer));
}

static int repeat_answer(struct enrolment *n, struct span kept)
{
    struct span line, id;

    if (!span_cut(&kept, '\n', &line) || !span_cut(&line, ' ', &id) || !ulid_parse(id, &n->out->id) ||
        !span_copy(line, n->out->name, sizeof(n->out->name)))
        return -EUCLEAN;
    buf_put_span(&n->out->chain_pem, kept);
    return buf_error(&n->out->chain_pem);
}

static int issue(struct enrolment *n, uint32_t generation, struct span csr_der)
{
    AUTO(freep) struct issued_leaf *leaf = calloc(1, sizeof(*leaf));
    const struct leaf_wish wish = { .kind = n->out->kind, .id = n->out->id, .generation = generation,
                                    .life_s = n->out->kind == CERT_AGENT ? n->e->agent_life_s : 0 };
    int r;

    if (!leaf)
        return -ENOMEM;
    r = keyring_issue(n->e->keys, &wish, csr_der, n->now_ms / 1000, leaf);
    if (r == -EINVAL)
        return refuse(n, REASON_BAD_REQUEST);
    if (!r)
        r = store_certificate_put(n->tx, &leaf->row);
    buf_put_str(&n->out->chain_pem, leaf->pem);
    return r ? r : buf_error(&n->out->chain_pem);
}

static struct change change_by(const struct enrolment *n, const char *actor_kind, struct span actor,
                               const char *action)
{
    return (struct change){ .tx = n->tx, .event = { .actor_kind = actor_kind, .actor_id = actor,
                                                    .action = action, .trace_id = n->trace_id } };
}

/* ---- joining ---- */

struct token {
    struct store_object *object;
    struct json_value *doc;
};

static void token_deinit(struct token *t)
{
    store_object_free(t->object);
    json_value_free(t->doc);
}

static int check_secret(struct enrolment *n, const struct enrol_join *ask)
{
    unsigned char secret[JOIN_SECRET_LEN + 16];
    struct store_secret sealed;
    struct buf plain;
    bool is_right;
    int r;

    r = store_secret_get(n->tx, &ask->token, "join", &sealed);
    if (r)
        return r == STORE_E_NOT_FOUND ? refuse(n, REASON_TOKEN_INVALID) : r;
    buf_init_fixed(&plain, secret, sizeof(secret));
    r = unseal(n->e->kek, SPAN("join"), span_of(sealed.value, sealed.value_len), &plain);
    is_right = !r && plain.len == JOIN_SECRET_LEN && join_mac_check(secret, &ask->token, ask->csr_der, ask->mac);
    secret_wipe(secret, sizeof(secret));
    if (r)
        return r;
    return is_right ? 0 : refuse(n, REASON_TOKEN_INVALID);
}

static int open_token(struct enrolment *n, const struct enrol_join *ask, struct token *t)
{
    struct json_error error;
    int64_t ends_ms;
    int r;

    r = store_object_get(n->tx, "join-token", &ask->token, &t->object);
    if (r)
        return r == STORE_E_NOT_FOUND ? refuse(n, REASON_TOKEN_INVALID) : r;
    r = json_parse(t->object->doc, &t->doc, &error);
    if (r)
        return r;
    ends_ms = doc_time(t->doc, "expires_at");
    if ((ends_ms && ends_ms <= n->now_ms) || !doc_is(t->doc, "kind", cert_kind_name(ask->kind)))
        return refuse(n, REASON_TOKEN_INVALID);
    return check_secret(n, ask);
}

static bool is_name(struct span name)
{
    for (size_t i = 0; i < name.n; i++)
        if (!((name.p[i] >= 'a' && name.p[i] <= 'z') || (name.p[i] >= '0' && name.p[i] <= '9') || name.p[i] == '-'))
            return false;
    return name.n >= 1 && name.n <= 63;
}

/* The end of an id in lower case makes a taken name free. */
static void make_name(struct enrolment *n, struct span wanted, bool is_taken)
{
    char tail[9];

    for (size_t i = 0; i < 8; i++) {
        char c = n->out->id.text[ULID_LEN - 8 + i];

        tail[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    }
    tail[8] = '\0';
    if (!is_name(wanted))
        snprintf(n->out->name, sizeof(n->out->name), "%s-%s", cert_kind_name(n->out->kind), tail);
    else if (is_taken)
        snprintf(n->out->name, sizeof(n->out->name), SPAN_FMT "-%s", SPAN_ARG(span_first(wanted, 54)), tail);
    else
        snprintf(n->out->name, sizeof(n->out->name), SPAN_FMT, SPAN_ARG(wanted));
}

static void make_doc(const struct token *t, const struct enrol_join *ask, struct buf *out)
{
    const struct json_value *labels = json_get(t->doc, "agent_labels");
    struct json_writer w;

    json_begin(&w, out);
    json_open_object(&w, NULL);
    json_put_text(&w, "status", "active");
    if (labels)
        json_put_value(&w, "labels", labels);
    if (ask->kind == CERT_RELAY && ask->address.n)
        json_put_str(&w, "address", ask->address);
    json_close_object(&w);
}

/* A token for one that names an agent which is there already gives that agent a new
 * certificate: how one that was wiped comes back.  0: not so; DONE: adopted. */
enum { DONE = 2 };

static int adopt(struct enrolment *n, const struct enrol_join *ask, const struct token *t)
{
    struct change change = change_by(n, "join-token", ulid_span(&ask->token), "agents.rejoin");
    AUTO(store_object_freep) struct store_object *old = NULL;
    struct store_certificate last = { .generation = 0 };
    int64_t version;
    int r;

    if (!doc_text(t->doc, "agent_name").n || doc_int(t->doc, "uses") != 1)
        return 0;
    r = store_object_find(n->tx, kind_of(ask->kind)->name, doc_text(t->doc, "agent_name"), &old);
    if (r)
        return r == STORE_E_NOT_FOUND ? 0 : r;
    n->out->id = old->id;
    snprintf(n->out->name, sizeof(n->out->name), "%.63s", old->name);
    r = store_certificate_last(n->tx, &old->id, &last);
    if (r < 0)
        return r;
    /* Two further on: the one before the newest still passes (compile_agent), these may not. */
    r = issue(n, (uint32_t)last.generation + 2, ask->csr_der);
    if (r)
        return r;
    r = change_update(&change, &(struct change_object){ .kind = kind_of(ask->kind), .id = old->id,
                      .name = span_str(old->name), .doc = old->doc }, 0, &version);
    return r ? r : DONE;
}

static int insert(struct enrolment *n, const struct enrol_join *ask, const struct token *t)
{
    struct change change = change_by(n, "join-token", ulid_span(&ask->token),
                                     ask->kind == CERT_RELAY ? "relays.join" : "agents.join");
    struct span wanted = doc_text(t->doc, "agent_name").n ? doc_text(t->doc, "agent_name") : ask->name;
    AUTO(store_object_freep) struct store_object *other = NULL;
    AUTO(buf_deinit) struct buf doc;
    int r;

    buf_init_heap(&doc, ANSWER_MAX);
    n->out->id = store_new_id(n->e->store);
    r = store_object_find(n->tx, kind_of(ask->kind)->name, wanted, &other);
    if (r && r != STORE_E_NOT_FOUND)
        return r;
    make_name(n, wanted, !r);
    make_doc(t, ask, &doc);
    change.event.address = ask->address;
    r = issue(n, 1, ask->csr_der);
    if (r)
        return r;
    return change_insert(&change, &(struct change_object){
        .kind = kind_of(ask->kind), .id = n->out->id, .name = span_str(n->out->name), .doc = buf_span(&doc),
        .created_by = t->object->created_by, .managed_by = "join" });
}

static int join(struct enrolment *n, const void *arg)
{
    const struct enrol_join *ask = arg;
    AUTO(token_deinit) struct token t = { NULL, NULL };
    AUTO(buf_deinit) struct buf kept;
    bool is_repeat = false;
    int r;

    buf_init_heap(&kept, ANSWER_MAX);
    n->out->kind = ask->kind;
    r = open_token(n, ask, &t);
    if (r)
        return r;
    r = store_join_use(n->tx, &ask->token, span_str(n->csr_hash), (uint64_t)doc_int(t.doc, "uses"),
                       &is_repeat, &kept);
    if (r)
        return r == STORE_E_USED_UP ? refuse(n, REASON_TOKEN_USED) : r;
    if (is_repeat)
        return repeat_answer(n, buf_span(&kept));
    r = adopt(n, ask, &t);
    if (!r)
        r = insert(n, ask, &t);
    else if (r == DONE)
        r = 0;
    return r ? r : keep_answer(n, &ask->token);
}

/* ---- renewal ---- */

/* Somebody has a copy of the key: nobody may use it until a person looked. */
static int lock_out(struct enrolment *n, const struct enrol_renew *ask, const struct store_object *o)
{
    static const char text[] = "An older generation of its certificate was offered: its key may have been copied.";
    struct change change = change_by(n, "system", SPAN_NONE, "alarm.old-generation");
    struct change_ref ref = { .field = "agent", .to = o->id };
    char doc[256];
    int r;

    LOG(ERROR, "enrol.old-generation", S("id", o->id.text), S("name", o->name), U("generation", ask->generation),
        S("relay", ask->relay));
    n->is_refusal_kept = true;
    change.event.outcome = reason_text(REASON_LOCKED);
    r = tell_alarm(n->tx, SPAN("old-generation"), ulid_span(&o->id), span_str(text));
    if (r)
        return r;
    if (strcmp(o->kind, "agent") != 0) {        /* locks name agents; the event must do */
        change.event.object_kind = o->kind;
        change.event.object_id = ulid_span(&o->id);
        return store_audit_append(n->tx, &change.event, NULL) ? -EIO : refuse(n, REASON_LOCKED);
    }
    snprintf(doc, sizeof(doc), "{\"agent\":\"%s\",\"reason\":\"%s\"}", o->id.text, text);
    return change_insert(&change, &(struct change_object){
        .kind = kind_at(KIND_LOCK), .id = store_new_id(n->e->store), .doc = span_str(doc),
        .refs = &ref, .ref_count = 1, .created_by = "", .managed_by = "alarm" }) ? -EIO : refuse(n, REASON_LOCKED);
}

static int check_generation(struct enrolment *n, const struct enrol_renew *ask, const struct store_object *o,
                            uint32_t *ret_next)
{
    struct store_certificate last;
    bool may_have_lost;
    int r;

    r = store_certificate_last(n->tx, &ask->id, &last);
    if (r)
        return r == STORE_E_NOT_FOUND ? refuse(n, REASON_AGENT_REVOKED) : r;
    if (last.not_after_ms / 1000 + CERT_RENEW_GRACE_S < n->now_ms / 1000)
        return refuse(n, REASON_CERTIFICATE_EXPIRED);
    /* The answer may have been lost on the way.  Should two go on from here, the one whose
     * generation falls behind is noticed at its next renewal. */
    may_have_lost = ask->generation + 1 == last.generation && n->now_ms - last.issued_ms < LOST_ANSWER_MS;
    if (ask->generation != last.generation && !may_have_lost)
        return lock_out(n, ask, o);
    *ret_next = (uint32_t)last.generation + 1;
    return 0;
}

static int renew_object(struct enrolment *n, const struct enrol_renew *ask, const struct store_object *o)
{
    struct change change = change_by(n, "relay", span_str(ask->relay), "certificates.renew");
    AUTO(buf_deinit) struct buf kept;
    bool is_repeat = false;
    uint32_t next = 0;
    int64_t version;
    int r;

    buf_init_heap(&kept, ANSWER_MAX);
    snprintf(n->out->name, sizeof(n->out->name), "%.63s", o->name);
    r = store_join_use(n->tx, &ask->id, span_str(n->csr_hash), STORE_JOIN_ANY, &is_repeat, &kept);
    if (r)
        return r;
    if (is_repeat)
        return kept.len ? repeat_answer(n, buf_span(&kept)) : refuse(n, REASON_LOCKED);
    r = check_generation(n, ask, o, &next);
    if (!r)
        r = issue(n, next, ask->csr_der);
    if (r)
        return r;
    r = change_update(&change, &(struct change_object){ .kind = kind_of(n->out->kind), .id = o->id,
                      .name = span_str(o->name), .doc = o->doc }, 0, &version);
    return r ? r : keep_answer(n, &ask->id);
}

static int renew(struct enrolment *n, const void *arg)
{
    const struct enrol_renew *ask = arg;
    AUTO(store_object_freep) struct store_object *o = NULL;
    AUTO(json_value_freep) struct json_value *doc = NULL;
    struct json_error error;
    int r;

    r = store_object_get(n->tx, NULL, &ask->id, &o);
    if (r)
        return r == STORE_E_NOT_FOUND ? refuse(n, REASON_AGENT_REVOKED) : r;
    if (!cert_kind_parse(span_str(o->kind), &n->out->kind))
        return refuse(n, REASON_AGENT_REVOKED);
    r = json_parse(o->doc, &doc, &error);
    if (r)
        return r;
    if (!doc_is(doc, "status", "active"))
        return refuse(n, REASON_AGENT_REVOKED);
    n->out->id = o->id;
    return renew_object(n, ask, o);
}

/* ---- both ---- */

static int run(struct enrolment *n, int (*fn)(struct enrolment *n, const void *ask), const void *ask)
{
    AUTO(store_rollbackp) struct store_tx *tx = NULL;
    int r;

    r = store_begin(n->e->store, STORE_WRITE, &tx);
    if (r)
        return r == STORE_E_BUSY ? refuse(n, REASON_OVERLOAD) : r;
    n->tx = tx;
    r = fn(n, ask);
    if (!r || (n->why != REASON_NONE && n->is_refusal_kept)) {
        int committed = store_commit(&tx, NULL);

        return committed ? committed : r;
    }
    return r;
}

static enum reason enrol(const struct enrol *e, int (*fn)(struct enrolment *n, const void *ask), const void *ask,
                         struct span csr_der, const char *trace_id, struct enrolled *ret)
{
    struct enrolment n = { .e = e, .now_ms = (int64_t)store_now_ms(e->store), .trace_id = trace_id, .out = ret };
    int r;

    *ret = (struct enrolled){ .kind = CERT_AGENT };
    buf_init_heap(&ret->chain_pem, CERT_PEM_MAX);
    if (csr_check(csr_der, NULL))
        return REASON_BAD_REQUEST;
    sha256_hex(csr_der, n.csr_hash);
    r = run(&n, fn, ask);
    if (n.why != REASON_NONE)
        return n.why;
    if (!r)
        return REASON_NONE;
    LOG(ERROR, "enrol.failed", N("result", r), S("trace_id", trace_id));
    return REASON_INTERNAL;
}

enum reason enrol_join(const struct enrol *e, const struct enrol_join *ask, struct enrolled *ret)
{
    return enrol(e, join, ask, ask->csr_der, ask->trace_id, ret);
}

enum reason enrol_renew(const struct enrol *e, const struct enrol_renew *ask, struct enrolled *ret)
{
    return enrol(e, renew, ask, ask->csr_der, ask->trace_id, ret);
}
