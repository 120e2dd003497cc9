#include "controlplane/routes/internal.h"
#include "controlplane/routes/diagnose.h"
#include "controlplane/routes/door_password.h"
#include "controlplane/routes/internal_events.h"
#include "lib/base/encode.h"
#include "lib/json/json.h"
#include "lib/policy/decide.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define CSR_TEXT_MAX 8192
#define STATE_ANSWER_MAX ((size_t)300 << 20)

/* ---- who asks ---- */

static enum reason verify(struct internal *in, const struct request *req, int64_t now_s,
                          struct identity *ret_identity)
{
    AUTO(chain_freep) struct chain *chain = NULL;
    struct trust trust = { .cluster = "" };
    enum reason why;

    if (chain_parse_der(req->peer_chain, req->peer_chain_count, &chain))
        return REASON_BAD_CERTIFICATE;
    snprintf(trust.cluster, sizeof(trust.cluster), "%s", keyring_cluster(in->enrol.keys));
    snprintf(trust.pin, sizeof(trust.pin), "%s", keyring_pin(in->enrol.keys));
    why = chain_verify(chain, &trust, CERT_RELAY, now_s, CERT_EXPIRY_STRICT, ret_identity);
    if (why == REASON_NONE)
        verified_add(&in->verified, req->peer_chain, req->peer_chain_count, now_s, ret_identity);
    return why;
}

static enum reason admit(struct internal *in, const struct request *req, struct identity *ret_identity)
{
    AUTO(policy_unrefp) struct policy *policy = publisher_policy(in->publisher);
    int64_t now_s = (int64_t)(store_now_ms(in->enrol.store) / 1000);
    enum reason why = REASON_NONE;

    if (!req->peer_chain_count)
        return REASON_BAD_CERTIFICATE;
    if (!verified_find(&in->verified, req->peer_chain, req->peer_chain_count, now_s, ret_identity))
        why = verify(in, req, now_s, ret_identity);
    return why != REASON_NONE ? why : policy_relay_admitted(policy, &ret_identity->id);
}

bool internal_authenticate(void *ctx, struct request *req, struct response *res)
{
    struct identity identity = { .cluster = "" };
    enum reason why = admit(ctx, req, &identity);
    struct principal *p = &req->principal;

    if (why != REASON_NONE) {
        response_problem(res, why, "%s", "");
        return false;
    }
    p->roles = ROLE_RELAY;
    snprintf(p->kind, sizeof(p->kind), "relay");
    snprintf(p->id, sizeof(p->id), "%s", identity.id.text);
    snprintf(p->scopes, sizeof(p->scopes), "*");
    return true;
}

/* ---- GET /internal/v1/state ---- */

static bool parse_position(struct span text, struct store_position *ret_position)
{
    struct span epoch;

    return span_cut(&text, '.', &epoch) && text.p && span_to_u64(epoch, INT64_MAX, &ret_position->epoch) &&
           span_to_u64(text, INT64_MAX, &ret_position->revision);
}

static void on_state(const struct route *route, struct request *req, struct response *res)
{
    struct internal *in = route->ctx;
    struct store_position at = { 0 };
    struct span after = SPAN("0.0");
    bool is_news = false;
    int r;

    (void)request_query(req, "after", &after);
    if (!parse_position(after, &at)) {
        problem_add(&res->problem, "after", "must be EPOCH.REVISION");
        return;
    }
    buf_deinit(&res->body);
    buf_init_heap(&res->body, STATE_ANSWER_MAX);
    r = publisher_answer(in->publisher, at, &res->body, &is_news);
    if (r) {
        response_fail(res, r);
        return;
    }
    if (!is_news && !req->is_expired) {
        buf_clear(&res->body);
        response_park(res, INTERNAL_POLL_MS);
        return;
    }
    res->content_type = "application/octet-stream";
    res->status = 200;
}

/* ---- GET /internal/v1/relay ---- */

static void put_credential_keys(const struct internal *in, struct json_writer *w)
{
    const struct keyring_credential *keys;
    char hex[2 * CREDENTIAL_KEY_LEN];
    struct buf text;
    size_t count;

    keys = keyring_credentials(in->enrol.keys, &count);
    json_open_array(w, "credential_keys");
    for (size_t i = 0; i < count; i++) {
        buf_init_fixed(&text, hex, sizeof(hex));
        hex_encode(span_of(keys[i].key, CREDENTIAL_KEY_LEN), &text);
        json_open_object(w, NULL);
        json_put_int(w, "number", keys[i].number);
        json_put_str(w, "key", buf_span(&text));
        json_close_object(w);
    }
    json_close_array(w);
    secret_wipe(hex, sizeof(hex));
}

static void on_relay(const struct route *route, struct request *req, struct response *res)
{
    struct internal *in = route->ctx;
    AUTO(policy_unrefp) struct policy *policy = publisher_policy(in->publisher);
    const struct relay_record *relay = RECORD_AS(
        policy_find(policy, RECORD_RELAY, span_str(req->principal.id)), RELAY, relay_record);
    struct json_writer w;

    json_begin(&w, &res->body);
    json_open_object(&w, NULL);
    json_put_text(&w, "id", req->principal.id);
    json_put_text(&w, "name", relay ? relay->name : "");
    json_put_text(&w, "cluster", keyring_cluster(in->enrol.keys));
    json_put_str(&w, "keyset", keyring_keyset(in->enrol.keys));
    json_put_text(&w, "keys", keyring_serial(in->enrol.keys));
    json_put_str(&w, "chain", keyring_root_pem(in->enrol.keys));
    put_credential_keys(in, &w);
    json_put_int(&w, "time_ms", (int64_t)store_now_ms(in->enrol.store));
    json_close_object(&w);
    res->status = 200;
}

/* ---- joining and renewing ---- */

struct asked {
    char token[ULID_LEN + 1], id[ULID_LEN + 1], mac[64], name[64], address[256];
    char *csr, *chain, *signature;
    int64_t generation, starts;
};

#define TEXT_FIELD(key_, member_, min_, flags_)                                                   \
    { key_, J_TEXT, offsetof(struct asked, member_), sizeof_field(struct asked, member_), min_,   \
      sizeof_field(struct asked, member_) - 1, flags_ }

static const struct json_field join_fields[] = {
    TEXT_FIELD("token_id", token, ULID_LEN, JSON_REQUIRED),
    { "csr", J_STR, offsetof(struct asked, csr), 0, 1, CSR_TEXT_MAX, JSON_REQUIRED },
    TEXT_FIELD("mac", mac, 43, JSON_REQUIRED),
    TEXT_FIELD("name", name, 1, 0),
    TEXT_FIELD("address", address, 0, 0),
    { "starts", J_INT, offsetof(struct asked, starts), 0, 0, INT64_MAX, 0 },
};

static const struct json_field renew_fields[] = {
    TEXT_FIELD("id", id, ULID_LEN, JSON_REQUIRED),
    { "generation", J_INT, offsetof(struct asked, generation), 0, 0, UINT32_MAX, JSON_REQUIRED },
    { "csr", J_STR, offsetof(struct asked, csr), 0, 1, CSR_TEXT_MAX, JSON_REQUIRED },
    { "chain", J_STR, offsetof(struct asked, chain), 0, 1, CERT_PEM_MAX, 0 },
    { "signature", J_STR, offsetof(struct asked, signature), 0, 1, 2 * KEY_SIGNATURE_MAX, 0 },
};

static bool decode(const struct request *req, const struct json_field *fields, size_t count,
                   struct asked *ret, struct response *res)
{
    AUTO(json_value_freep) struct json_value *v = NULL;
    struct json_error error;
    int r;

    r = json_parse(req->body, &v, &error);
    if (r) {
        response_problem(res, REASON_BAD_REQUEST, "%s", error.message);
        return false;
    }
    r = json_decode(v, fields, count, 0, ret, &error);
    if (r)
        problem_add(&res->problem, error.pointer, error.message);
    return !r;
}

/* DER as base64url, or PEM. */
static bool csr_decode(struct span text, struct buf *ret_der)
{
    char flat[CSR_TEXT_MAX];
    struct span line;
    size_t n = 0;

    if (!span_starts(text, SPAN("-----BEGIN")))
        return base64url_decode(text, ret_der) && !buf_error(ret_der);
    while (span_cut(&text, '\n', &line)) {
        if (line.n && line.p[line.n - 1] == '\r')
            line.n--;
        if (span_starts(line, SPAN("-----")) || n + line.n > sizeof(flat))
            continue;
        memcpy(flat + n, line.p, line.n);
        n += line.n;
    }
    return base64_decode(span_of(flat, n), ret_der) && !buf_error(ret_der);
}

static void answer(const struct internal *in, const struct enrolled *e, bool is_api, struct response *res)
{
    struct json_writer w;

    json_begin(&w, &res->body);
    json_open_object(&w, NULL);
    json_put_text(&w, "id", e->id.text);
    json_put_text(&w, "name", e->name);
    json_put_text(&w, "cluster", keyring_cluster(in->enrol.keys));
    json_put_str(&w, is_api ? "certificate" : "chain", buf_span(&e->chain_pem));
    json_put_str(&w, is_api ? "keys" : "keyset", keyring_keyset(in->enrol.keys));
    json_close_object(&w);
}

static void asked_deinit(struct asked *a)
{
    free(a->csr);
    free(a->chain);
    free(a->signature);
}

/* Who asks to join stands behind the relay that passes it on. */
static void note_newcomer(const struct asked *asked, const struct ulid *token, enum cert_kind kind,
                          struct refusal_note *note)
{
    struct endpoint from;

    note->object_kind = "join-token";
    note->object = *token;
    if (kind != CERT_AGENT)
        return;
    note->asker_kind = "anonymous";
    if (endpoint_parse(span_str(asked->address), &from) && from.kind == ENDPOINT_IP)
        note->asker_addr = from.addr;
}

static void join(const struct route *route, struct request *req, struct response *res, enum cert_kind kind)
{
    struct internal *in = route->ctx;
    unsigned char mem[CSR_DER_MAX];
    AUTO(asked_deinit) struct asked asked = { .token = "" };
    AUTO(enrolled_deinit) struct enrolled enrolled = { .kind = kind };
    struct enrol_join ask = { .kind = kind, .trace_id = req->trace_id };
    struct buf der;
    enum reason why;

    buf_init_fixed(&der, mem, sizeof(mem));
    if (!decode(req, join_fields, ARRAY_LEN(join_fields), &asked, res))
        return;
    if (!ulid_parse(span_str(asked.token), &ask.token)) {
        response_problem(res, REASON_TOKEN_INVALID, "%s", "");
        return;
    }
    note_newcomer(&asked, &ask.token, kind, &res->note);
    if (!csr_decode(span_str(asked.csr), &der)) {
        problem_add(&res->problem, "/csr", "must be a PKCS #10 request: DER as base64url, or PEM");
        return;
    }
    ask.csr_der = buf_span(&der);
    ask.mac = span_str(asked.mac);
    ask.name = span_str(asked.name);
    ask.address = span_str(asked.address);
    why = enrol_join(&in->enrol, &ask, &enrolled);
    if (why != REASON_NONE) {
        response_problem(res, why, "%s", "");
        return;
    }
    answer(in, &enrolled, kind == CERT_RELAY, res);
    res->status = 201;
}

static void on_join_agent(const struct route *route, struct request *req, struct response *res)
{
    join(route, req, res, CERT_AGENT);
}

static void on_join_relay(const struct route *route, struct request *req, struct response *res)
{
    join(route, req, res, CERT_RELAY);
}

/* Whoever passes a request on proves nothing by himself: the holder of the present key signed
 * it.  A relay that asks for itself showed that key in the handshake. */
static enum reason check_proof(const struct internal *in, const struct request *req, const struct asked *asked,
                               struct enrol_renew *ask)
{
    AUTO(chain_freep) struct chain *chain = NULL;
    AUTO(key_freep) struct key *key = NULL;
    unsigned char mem[KEY_SIGNATURE_MAX];
    struct trust trust = { .cluster = "" };
    struct identity who = { .cluster = "" };
    struct buf signature;
    enum reason why;

    if (strcmp(ask->id.text, req->principal.id) == 0)
        return REASON_NONE;
    buf_init_fixed(&signature, mem, sizeof(mem));
    snprintf(trust.cluster, sizeof(trust.cluster), "%s", keyring_cluster(in->enrol.keys));
    snprintf(trust.pin, sizeof(trust.pin), "%s", keyring_pin(in->enrol.keys));
    if (!asked->chain || !asked->signature || chain_parse_pem(span_str(asked->chain), &chain))
        return REASON_BAD_PROOF;
    why = chain_verify(chain, &trust, CERT_AGENT, (int64_t)(store_now_ms(in->enrol.store) / 1000),
                       CERT_EXPIRY_MAY_RENEW, &who);
    if (why != REASON_NONE)
        return why;
    if (strcmp(who.id.text, ask->id.text) != 0 || chain_public_key(chain, 0, &key) ||
        !base64url_decode(span_str(asked->signature), &signature) ||
        !key_verify(key, ask->csr_der, buf_span(&signature)))
        return REASON_BAD_PROOF;
    ask->generation = who.generation;
    return REASON_NONE;
}

/* From its proof on it is the agent that is refused, not the relay that passes it on. */
static enum reason renew(const struct internal *in, const struct request *req, const struct asked *asked,
                         struct enrol_renew *ask, struct refusal_note *note, struct enrolled *ret)
{
    enum reason why = check_proof(in, req, asked, ask);

    if (why != REASON_NONE)
        return why;
    if (strcmp(ask->id.text, req->principal.id) != 0) {
        note->asker_kind = "agent";
        note->asker = ask->id;
    }
    return enrol_renew(&in->enrol, ask, ret);
}

static void on_renew(const struct route *route, struct request *req, struct response *res)
{
    struct internal *in = route->ctx;
    unsigned char mem[CSR_DER_MAX];
    AUTO(asked_deinit) struct asked asked = { .token = "" };
    AUTO(enrolled_deinit) struct enrolled enrolled = { .kind = CERT_AGENT };
    struct enrol_renew ask = { .relay = req->principal.id, .trace_id = req->trace_id };
    struct buf der;
    enum reason why;

    buf_init_fixed(&der, mem, sizeof(mem));
    if (!decode(req, renew_fields, ARRAY_LEN(renew_fields), &asked, res))
        return;
    if (!ulid_parse(span_str(asked.id), &ask.id) || !csr_decode(span_str(asked.csr), &der)) {
        response_problem(res, REASON_BAD_REQUEST, "the id or the request is malformed");
        return;
    }
    ask.generation = (uint32_t)asked.generation;
    ask.csr_der = buf_span(&der);
    res->note.object_kind = strcmp(ask.id.text, req->principal.id) == 0 ? "relay" : "agent";
    res->note.object = ask.id;
    why = renew(in, req, &asked, &ask, &res->note, &enrolled);
    if (why != REASON_NONE) {
        response_problem(res, why, "%s", "");
        return;
    }
    answer(in, &enrolled, false, res);
    res->status = 200;
}

/* ---- the table ---- */

#define INTERNAL_BODY_MAX (2u << 20)

static const struct route table[INTERNAL_ROUTES] = {
    { .method = "GET", .path = "/internal/v1/state", .operation = "internal.state", .roles = ROLE_RELAY,
      .flags = ROUTE_LONG_POLL, .query = "after", .topic = INTERNAL_TOPIC_STATE, .handler = on_state },
    { .method = "GET", .path = "/internal/v1/relay", .operation = "internal.relay", .roles = ROLE_RELAY,
      .handler = on_relay },
    { .method = "POST", .path = "/internal/v1/join", .operation = "internal.join", .roles = ROLE_RELAY,
      .body_max = 16384, .handler = on_join_agent },
    { .method = "POST", .path = "/internal/v1/renew", .operation = "internal.renew", .roles = ROLE_RELAY,
      .body_max = 65536, .handler = on_renew },
    { .method = "POST", .path = "/internal/v1/password", .operation = "internal.password", .roles = ROLE_RELAY,
      .flags = ROUTE_SLOW, .body_max = 16384, .handler = on_door_password },
    { .method = "POST", .path = "/internal/v1/events", .operation = "internal.events", .roles = ROLE_RELAY,
      .body_max = INTERNAL_BODY_MAX, .handler = on_relay_events },
    { .method = "POST", .path = "/internal/v1/applied", .operation = "internal.applied", .roles = ROLE_RELAY,
      .body_max = INTERNAL_BODY_MAX, .handler = on_relay_applied },
    { .method = "GET", .path = "/internal/v1/commands", .operation = "internal.commands", .roles = ROLE_RELAY,
      .flags = ROUTE_LONG_POLL, .topic = INTERNAL_TOPIC_COMMANDS, .handler = on_relay_commands },
    { .method = "POST", .path = "/internal/v1/answers", .operation = "internal.answers", .roles = ROLE_RELAY,
      .body_max = 131072, .handler = on_relay_answer },
};

const struct route *internal_routes(struct internal *internal, struct route *rows, size_t *count)
{
    for (size_t i = 0; i < INTERNAL_ROUTES; i++) {
        rows[i] = table[i];
        rows[i].ctx = internal;
    }
    *count = INTERNAL_ROUTES;
    return rows;
}

struct route internal_join_route(struct internal *internal)
{
    return (struct route){ .method = "POST", .path = "/api/v1/join", .operation = "join",
                           .flags = ROUTE_PUBLIC, .body_max = 16384, .handler = on_join_relay,
                           .ctx = internal };
}
