#include "lib/tunnel/tunnel.h"

#include "lib/crypto/random.h"
#include "lib/tunnel/tunnel_state.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define TEXT_MAX 320
#define HELLO_BYTES_MAX 16368

struct login {                  /* our own copy of a tunnel_login */
    enum tunnel_credential kind;
    struct tunnel_session session;
    struct chain *chain;
    struct key *key;
    char *token_id, *csr, *mac;
    struct ulid replaces;
};

struct tunnel {
    enum tunnel_state state;
    bool is_accepting, has_peer, has_shown;
    struct mux *mux;
    struct mux_link *link;
    const struct tunnel_self *self;
    const struct tunnel_handlers *handlers;
    void *user;
    const struct tunnel_carrier *carrier;
    void *carrier_arg;
    struct login login;
    struct tunnel_hello own, peer;
    struct tunnel_session session;
    struct identity shown;
    struct endpoint address, local;
    uint64_t now_ms, tick_at_ms;
    uint32_t retry_after_ms;
    enum reason why;            /* of the end */
    char text[TEXT_MAX];
};

static bool step(struct tunnel *t, enum tunnel_event event)
{
    return tunnel_next(&t->state, event);
}

static const struct { unsigned kind; const char *name; } notices[] = {
#define ROW(name, number, text) { number, text },
    TUNNEL_NOTICES(ROW)
#undef ROW
};

const char *tunnel_notice_name(unsigned kind)
{
    for (size_t i = 0; i < ARRAY_LEN(notices); i++)
        if (notices[i].kind == kind)
            return notices[i].name;
    return "?";
}

/* --- the end ------------------------------------------------------------------------- */
static void remember_why(struct tunnel *t, enum reason why, const char *text)
{
    if (t->why || t->text[0])
        return;
    t->why = why;
    snprintf(t->text, sizeof(t->text), "%s", text ? text : "");
}

static void begin_end(struct tunnel *t, enum reason why, const char *text)
{
    if (!step(t, TUNNEL_EVENT_CLOSE))
        return;
    remember_why(t, why, text);
    t->carrier->finish(t->carrier_arg);
}

static void say_last(struct tunnel *t, const struct mux_goaway *goaway, const char *text)
{
    if (t->state == TUNNEL_CLOSING)
        return;
    if (t->link && mux_link_state(t->link) == MUX_LINK_DRAINING)
        mux_link_detach(t->link, goaway->why);
    if (t->link)
        mux_link_goaway(t->link, goaway);
    begin_end(t, goaway->why, text);
}

void tunnel_close(struct tunnel *t, enum reason why, const char *text)
{
    say_last(t, &(struct mux_goaway){ .why = why, .text = span_str(text) }, text);
}

void tunnel_drop(struct tunnel *t, enum reason why, const char *text)
{
    (void)step(t, TUNNEL_EVENT_CLOSE);      /* closing already: the sooner */
    remember_why(t, why, text);
    t->carrier->drop(t->carrier_arg, why, text);
}

void tunnel_refuse(struct tunnel *t, enum reason why, const char *text)
{
    tunnel_close(t, why, text);
}

void tunnel_put_off(struct tunnel *t, enum reason why, const char *text, uint32_t retry_ms)
{
    say_last(t, &(struct mux_goaway){ .why = why, .text = span_str(text), .retry_ms = retry_ms }, text);
}

void tunnel_goaway(struct tunnel *t, const struct mux_goaway *goaway)
{
    if (t->link && t->state == TUNNEL_UP)
        mux_link_goaway(t->link, goaway);
}

static void login_deinit(struct login *login)
{
    chain_free(login->chain);
    key_free(login->key);
    free(login->token_id);
    free(login->csr);
    free(login->mac);
    secret_wipe(login, sizeof(*login));
}

static void tunnel_free(struct tunnel *t)
{
    login_deinit(&t->login);
    hello_deinit(&t->own);
    hello_deinit(&t->peer);
    secret_wipe(t, sizeof(*t));
    free(t);
}
DEFINE_FREEP(tunnel, tunnel_free)

void tunnel_discard(struct tunnel *t)
{
    if (t)
        tunnel_free(t);
}

void tunnel_ended(struct tunnel *t, enum reason why, const char *text)
{
    remember_why(t, why, text);
    t->state = TUNNEL_CLOSING;
    /* Streams lose their path first: whoever hears of the end finds them so. */
    mux_link_free(TAKE(t->link));
    if (t->handlers->on_down)
        t->handlers->on_down(t->user, t, t->why, t->text);
    tunnel_free(t);
}

/* --- HELLO --------------------------------------------------------------------------- */
static void fill_own(struct tunnel *t)
{
    const struct tunnel_self *self = t->self;
    struct tunnel_hello *h = &t->own;

    h->protocol = TUNNEL_PROTOCOL;
    h->starts = self->starts;
    h->streams_max = self->streams_max;
    h->first_retry_ms = self->first_retry_ms;
    h->workers = self->workers;
    h->worker = self->worker;
    snprintf(h->id, sizeof(h->id), "%s", self->id.text);
    snprintf(h->boot_id, sizeof(h->boot_id), "%s", self->boot_id.text);
    snprintf(h->name, sizeof(h->name), "%s", self->name ? self->name : "");
    snprintf(h->software, sizeof(h->software), "%s", self->software ? self->software : "");
    snprintf(h->platform, sizeof(h->platform), "%s", self->platform ? self->platform : "");
    snprintf(h->zone, sizeof(h->zone), "%s", self->zone ? self->zone : "");
    random_bytes(h->nonce, sizeof(h->nonce));
}

static const char *const features[] = { MUX_FEATURE_LARGE_DATA, MUX_FEATURE_DIAGNOSE };   /* of a link, that this end has */

bool tunnel_peer_has(const struct tunnel *t, const char *feature)
{
    for (size_t i = 0; i < t->peer.features.count; i++) {
        if (strcmp(t->peer.features.items[i], feature) == 0)
            return true;
    }
    return false;
}

/* A feature is used when both HELLOs offer it. */
static void use_features(struct tunnel *t)
{
    if (tunnel_peer_has(t, MUX_FEATURE_LARGE_DATA))
        mux_link_large_data(t->link);
}

static int send_own(struct tunnel *t)
{
    struct buf json;
    int r;

    buf_init_heap(&json, HELLO_BYTES_MAX);
    /* Lent for the encoding; the lists are not the HELLO's. */
    t->own.features = (struct json_strs){ (char **)(uintptr_t)features, ARRAY_LEN(features) };
    if (t->is_accepting)
        t->own.relays =
            (struct json_strs){ (char **)(uintptr_t)t->self->relays, t->self->relay_count };
    hello_encode(&t->own, &json);
    t->own.relays = t->own.features = (struct json_strs){ 0 };
    r = buf_error(&json);
    if (!r)
        r = mux_link_hello(t->link, buf_span(&json));
    if (json.data)
        secret_wipe(json.data, json.len);
    buf_deinit(&json);
    return r;
}

static int copy(const char *text, char **ret_copy)
{
    if (!text)
        return 0;
    *ret_copy = span_dup(span_str(text));
    return *ret_copy ? 0 : -ENOMEM;
}

static int pem_of(const struct chain *chain, char **ret_pem)
{
    struct buf b;
    int r;

    buf_init_heap(&b, CERT_PEM_MAX);
    r = chain_pem(chain, &b);
    if (!r) {
        *ret_pem = span_dup(buf_span(&b));
        r = *ret_pem ? 0 : -ENOMEM;
    }
    buf_deinit(&b);
    return r;
}

static int show_signature(struct tunnel *t)
{
    int r = pem_of(t->login.chain, &t->own.chain_pem);

    return r ? r : hello_sign(&t->peer, &t->own, t->login.key);
}

static int show_join(struct tunnel *t)
{
    int r = copy(t->login.token_id, &t->own.token_id);

    if (!r)
        r = copy(t->login.csr, &t->own.csr);
    return r ? r : copy(t->login.mac, &t->own.mac);
}

/* The dialling side's credential, over both nonces. */
static int show_credential(struct tunnel *t)
{
    t->own.credential = t->login.kind;
    snprintf(t->own.replaces, sizeof(t->own.replaces), "%s", t->login.replaces.text);
    t->session = t->peer.session;
    switch (t->login.kind) {
    case TUNNEL_SESSION:
        t->session = t->login.session;
        t->own.session.id = t->session.id;
        hello_proof(&t->peer, &t->own, span_of(t->session.secret, TUNNEL_SECRET_LEN), t->own.proof);
        return 0;
    case TUNNEL_SIGNATURE:
        return show_signature(t);
    case TUNNEL_JOIN:
        return show_join(t);
    case TUNNEL_CERTIFICATE:
        return 0;
    case TUNNEL_NONE:
    case TUNNEL_CREDENTIAL_COUNT:
    default:
        return -EINVAL;
    }
}

/* --- what the mux says --------------------------------------------------------------- */
static bool take_hello(struct tunnel *t, struct span json)
{
    struct json_error e = { 0 };
    char text[TEXT_MAX];

    if (hello_decode(json, !t->is_accepting, &t->peer, &e)) {
        snprintf(text, sizeof(text), "HELLO: %s %s", e.pointer, e.message);
        tunnel_close(t, REASON_PROTOCOL_ERROR, text);
        return false;
    }
    t->has_peer = true;
    use_features(t);
    if (t->peer.protocol == TUNNEL_PROTOCOL)
        return true;
    snprintf(text, sizeof(text), "the other side speaks protocol %lld, this one %d",
             (long long)t->peer.protocol, TUNNEL_PROTOCOL);
    tunnel_close(t, REASON_VERSION_MISMATCH, text);
    return false;
}

static void on_hello(void *user, struct mux_link *l, struct span json)
{
    struct tunnel *t = user;

    (void)l;
    if (!step(t, TUNNEL_EVENT_HELLO) || !take_hello(t, json))
        return;
    if (t->is_accepting) {
        t->handlers->on_credential(t->user, t, &t->peer, t->has_shown ? &t->shown : NULL);
        return;
    }
    if (t->handlers->on_greeted && !t->handlers->on_greeted(t->user, t, &t->peer))
        begin_end(t, REASON_NONE, "it is not the link that was looked for");
    else if (show_credential(t) || send_own(t))
        tunnel_close(t, REASON_INTERNAL, "HELLO could not be made");
}

static void on_accepted(void *user, struct mux_link *l)
{
    struct tunnel *t = user;

    (void)l;
    if (step(t, TUNNEL_EVENT_ACCEPT) && t->handlers->on_up)
        t->handlers->on_up(t->user, t);
}

static void on_notice(void *user, struct mux_link *l, uint8_t kind, uint64_t revision,
                      struct span body)
{
    struct tunnel *t = user;

    (void)l;
    if (t->state == TUNNEL_UP && t->handlers->on_notice)
        t->handlers->on_notice(t->user, t, kind, revision, body);
}

static void on_goaway(void *user, struct mux_link *l, const struct mux_goaway *goaway)
{
    struct tunnel *t = user;
    char words[TEXT_MAX];

    (void)l;
    snprintf(words, sizeof(words), "the other side says: " SPAN_FMT,
             SPAN_ARG(span_first(goaway->text, 150)));
    if (goaway->retry_ms)
        t->retry_after_ms = goaway->retry_ms;
    if (t->state == TUNNEL_UP) {
        if (!goaway->ms_left)
            remember_why(t, goaway->why, words);
        if (t->handlers->on_goaway)
            t->handlers->on_goaway(t->user, t, goaway);
        return;
    }
    begin_end(t, goaway->why, words);
}

static void on_proved(void *user, struct mux_link *l, uint32_t rtt_us)
{
    struct tunnel *t = user;

    (void)l;
    if (t->state == TUNNEL_UP && t->handlers->on_proved)
        t->handlers->on_proved(t->user, t, rtt_us);
}

static void on_proof(void *user, struct mux_link *l, enum mux_proof proof)
{
    struct tunnel *t = user;

    (void)l;
    if (t->state == TUNNEL_UP && t->handlers->on_proof)
        t->handlers->on_proof(t->user, t, proof);
}

static void on_failed(void *user, struct mux_link *l, enum reason why, const char *text)
{
    (void)l;
    begin_end(user, why, text);
}

static void on_want_send(void *user, struct mux_link *l)
{
    struct tunnel *t = user;

    (void)l;
    t->carrier->want_send(t->carrier_arg);
}

void tunnel_fill_handlers(struct mux_handlers *handlers)
{
    handlers->on_hello = on_hello;
    handlers->on_accepted = on_accepted;
    handlers->on_notice = on_notice;
    handlers->on_goaway = on_goaway;
    handlers->on_proved = on_proved;
    handlers->on_proof = on_proof;
    handlers->on_failed = on_failed;
    handlers->on_want_send = on_want_send;
}

/* --- the program --------------------------------------------------------------------- */
void tunnel_accept(struct tunnel *t)
{
    if (!t->is_accepting || !step(t, TUNNEL_EVENT_ACCEPT))
        return;
    mux_link_accept(t->link, t->now_ms);
    if (t->handlers->on_up)
        t->handlers->on_up(t->user, t);
}

bool tunnel_check_session(struct tunnel *t, const struct tunnel_session *session)
{
    struct span secret = span_of(session->secret, TUNNEL_SECRET_LEN);

    if (t->state != TUNNEL_HELD || !t->is_accepting)
        return false;
    if (t->peer.credential != TUNNEL_SESSION || !hello_proof_is_right(&t->own, &t->peer, secret))
        return false;
    t->session = *session;
    return true;
}

enum reason tunnel_check_signature(const struct tunnel *t, const struct trust *trust,
                                   enum cert_kind kind, int64_t now_s,
                                   struct identity *ret_identity)
{
    return hello_check_signature(&t->own, &t->peer, trust, kind, now_s, ret_identity);
}

int tunnel_notice(struct tunnel *t, enum tunnel_notice kind, uint64_t revision, struct span body)
{
    if (!t->link)
        return REASON_NOT_READY;
    return mux_link_notice(t->link, (uint8_t)kind, revision, body);
}

void tunnel_set_user(struct tunnel *t, void *user)
{
    t->user = user;
}

void *tunnel_user(const struct tunnel *t)
{
    return t->user;
}

struct mux_link *tunnel_link(const struct tunnel *t)
{
    return t->link;
}

const struct tunnel_hello *tunnel_peer_hello(const struct tunnel *t)
{
    return t->has_peer ? &t->peer : NULL;
}

const struct tunnel_hello *tunnel_own_hello(const struct tunnel *t)
{
    return &t->own;
}

struct endpoint tunnel_peer_address(const struct tunnel *t)
{
    return t->address;
}

struct endpoint tunnel_local_address(const struct tunnel *t)
{
    return t->local;
}

const struct tunnel_session *tunnel_session(const struct tunnel *t)
{
    return &t->session;
}

uint32_t tunnel_retry_after_ms(const struct tunnel *t)
{
    return t->retry_after_ms;
}

void tunnel_set_retry_after(struct tunnel *t, uint32_t ms)
{
    t->retry_after_ms = ms;
}

bool tunnel_is_up(const struct tunnel *t)
{
    return t->state == TUNNEL_UP;
}

/* --- the carrier --------------------------------------------------------------------- */
static int copy_login(const struct tunnel_login *from, struct login *to)
{
    int r;

    to->kind = from->kind;
    to->session = from->session;
    to->replaces = from->replaces;
    to->chain = from->chain ? chain_ref(from->chain) : NULL;
    to->key = from->key ? key_ref(from->key) : NULL;
    r = copy(from->token_id, &to->token_id);
    if (!r)
        r = copy(from->csr, &to->csr);
    return r ? r : copy(from->mac, &to->mac);
}

int tunnel_new(const struct tunnel_config *config, struct tunnel **ret_tunnel)
{
    AUTO(tunnel_freep) struct tunnel *t = calloc(1, sizeof(*t));
    int r;

    if (!t)
        return -ENOMEM;
    t->is_accepting = config->is_accepting;
    t->mux = config->mux;
    t->self = config->self;
    t->handlers = config->handlers;
    t->user = config->user;
    t->carrier = config->carrier;
    t->carrier_arg = config->carrier_arg;
    fill_own(t);
    r = config->login ? copy_login(config->login, &t->login) : 0;
    if (r)
        return r;
    *ret_tunnel = TAKE(t);
    return 0;
}

int tunnel_start(struct tunnel *t, uint64_t now_ms)
{
    t->now_ms = now_ms;
    if (!step(t, TUNNEL_EVENT_START))
        return -EINVAL;
    t->link = mux_link_new(t->mux, t, now_ms);
    if (!t->link)
        return -ENOMEM;
    tunnel_tick(t, now_ms);
    if (!t->is_accepting)
        return 0;
    /* No clock here; being unique is all that is asked of it. */
    t->own.session.id = random_ulid(ulid_unix_ms(&t->self->boot_id));
    random_bytes(t->own.session.secret, TUNNEL_SECRET_LEN);
    t->session = t->own.session;
    return send_own(t);
}

void tunnel_set_shown(struct tunnel *t, const struct identity *shown,
                      const struct endpoint *address)
{
    t->has_shown = shown != NULL;
    if (shown)
        t->shown = *shown;
    t->address = *address;
}

void tunnel_set_local(struct tunnel *t, const struct endpoint *address)
{
    t->local = *address;
}

bool tunnel_take(struct tunnel *t, struct span bytes, bool is_last, uint64_t now_ms)
{
    t->now_ms = now_ms;
    if (!t->link || t->state == TUNNEL_CLOSING)
        return false;
    /* A fault has come by on_failed already. */
    if (mux_link_take(t->link, bytes, is_last, now_ms))
        begin_end(t, REASON_PROTOCOL_ERROR, "");
    return t->state != TUNNEL_CLOSING;
}

size_t tunnel_produce(struct tunnel *t, unsigned char *dst, size_t cap, uint64_t now_ms)
{
    t->now_ms = now_ms;
    return t->link ? mux_link_produce(t->link, dst, cap, now_ms) : 0;
}

bool tunnel_has_output(const struct tunnel *t)
{
    return t->link && mux_link_has_output(t->link);
}

void tunnel_tick(struct tunnel *t, uint64_t now_ms)
{
    uint64_t at_ms;

    t->now_ms = now_ms;
    if (!t->link || t->state == TUNNEL_CLOSING)
        return;
    at_ms = mux_link_tick(t->link, now_ms);
    if (t->state == TUNNEL_CLOSING || at_ms == t->tick_at_ms)
        return;
    t->tick_at_ms = at_ms;
    if (at_ms != UINT64_MAX)
        t->carrier->set_timer(t->carrier_arg, at_ms);
}
