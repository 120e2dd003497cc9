#include "dataplane/route/gate_internal.h"
#include "lib/base/encode.h"
#include "lib/crypto/ca.h"
#include "lib/json/json.h"
#include "lib/log/log.h"

#define BODY_MAX 32768

static void asked(struct guest *v)
{
    v->is_asking = false;
    v->gate->asks--;
}

static void on_joined(void *user, const struct control_answer *answer)
{
    struct guest *v = user;

    asked(v);
    if (!v->tunnel) {
        guest_free(v);
        return;
    }
    if (answer->reason != REASON_NONE) {
        (answer->status ? guest_turn_away : guest_refuse)(v, answer->reason, reason_what(answer->reason));
        return;
    }
    LOG(INFO, "agent.joined", S("name", tunnel_peer_hello(v->tunnel)->name));
    tunnel_accept(v->tunnel);
    if (tunnel_notice(v->tunnel, TUNNEL_NOTICE_CERTIFICATE, 0, answer->body))
        tunnel_close(v->tunnel, REASON_OVERLOAD, "the certificate could not be sent");
    else
        tunnel_close(v->tunnel, REASON_NONE, "joined");
}

/* What the agent may show from now on: its links need no other proof of it. */
static void note_renewed(struct guest *v, struct span body)
{
    AUTO(json_value_freep) struct json_value *value = NULL;
    AUTO(chain_freep) struct chain *chain = NULL;
    struct held_agent *a = holders_find(router_holders(v->gate->config.router), &v->who.id);
    struct json_error error;
    struct identity who;
    struct span pem;

    if (json_parse(body, &value, &error) || !json_get_str(value, "chain", &pem) || chain_parse_pem(pem, &chain) ||
        chain_verify(chain, &v->gate->config.trust, CERT_AGENT, gate_now_s(), CERT_EXPIRY_STRICT, &who) !=
            REASON_NONE ||
        !span_eq(ulid_span(&who.id), ulid_span(&v->who.id))) {
        LOG(ERROR, "agent.renewal_malformed", S("agent", v->who.id.text));
        return;
    }
    v->who = who;
    if (v->is_held && a)
        holders_renew(a, &who);
}

/* The link goes on.  The agent asks again; if it is locked the state says so. */
static void renewal_refused(struct guest *v, enum reason why)
{
    metric_add_at(v->gate->config.metrics, M_RENEWALS_REFUSED, why, 0, 1);
    LOG(WARNING, "agent.renewal_refused", S("agent", v->who.id.text), R("reason", why));
}

static void on_renewed(void *user, const struct control_answer *answer)
{
    struct guest *v = user;

    asked(v);
    if (!v->tunnel) {
        guest_free(v);
        return;
    }
    if (answer->reason != REASON_NONE) {
        if (!answer->status)
            guest_audit(v, answer->reason);
        renewal_refused(v, answer->reason);
        return;
    }
    note_renewed(v, answer->body);
    if (tunnel_notice(v->tunnel, TUNNEL_NOTICE_CERTIFICATE, 0, answer->body))
        LOG(WARNING, "notice.not_sent", S("agent", v->who.id.text), S("kind", "certificate"));
    else if (!v->is_held)
        tunnel_close(v->tunnel, REASON_LINK_RENEW, "come back with the new certificate");
}

static bool ask(struct guest *v, const char *path, struct buf *body, control_fn *fn)
{
    struct gate *g = v->gate;

    if (!g->config.control || g->asks >= GATE_ASKS_MAX || v->is_asking || buf_error(body) ||
        control_ask(g->config.control, path, buf_span(body), g->config.loop, fn, v))
        return false;
    v->is_asking = true;
    g->asks++;
    return true;
}

void guest_join(struct guest *v, const struct tunnel_hello *hello)
{
    AUTO(buf_deinit) struct buf body = { 0 };
    struct json_writer w;
    char address[ADDR_UNIX_MAX + 8];
    struct endpoint peer = tunnel_peer_address(v->tunnel);

    buf_init_heap(&body, BODY_MAX);
    json_begin(&w, &body);
    json_open_object(&w, NULL);
    json_put_text(&w, "token_id", hello->token_id);
    json_put_text(&w, "csr", hello->csr);
    json_put_text(&w, "mac", hello->mac);
    json_put_text(&w, "address", endpoint_format(&peer, address, sizeof(address)));
    json_close_object(&w);
    v->is_joining = true;
    if (!ask(v, "/internal/v1/join", &body, on_joined))
        guest_refuse(v, REASON_OVERLOAD, "too many are joining; try again");
}

/* Whoever asks shows the certificate that he holds now, and signs the request with its key: what
 * the link showed when it came up may be older. */
static bool check_renewal(const struct guest *v, const struct json_value *notice, struct identity *ret_who)
{
    AUTO(chain_freep) struct chain *chain = NULL;
    AUTO(key_freep) struct key *key = NULL;
    struct span csr_text, pem, signature_text;
    char csr_mem[CSR_DER_MAX], signature_mem[KEY_SIGNATURE_MAX];
    struct buf csr, signature;

    buf_init_fixed(&csr, csr_mem, sizeof(csr_mem));
    buf_init_fixed(&signature, signature_mem, sizeof(signature_mem));
    return json_get_str(notice, "csr", &csr_text) && json_get_str(notice, "chain", &pem) &&
           json_get_str(notice, "signature", &signature_text) && base64url_decode(csr_text, &csr) &&
           base64url_decode(signature_text, &signature) && chain_parse_pem(pem, &chain) == 0 &&
           chain_verify(chain, &v->gate->config.trust, CERT_AGENT, gate_now_s(), CERT_EXPIRY_MAY_RENEW, ret_who) ==
               REASON_NONE &&
           span_eq(ulid_span(&ret_who->id), ulid_span(&v->who.id)) && chain_public_key(chain, 0, &key) == 0 &&
           key_verify(key, buf_span(&csr), buf_span(&signature));
}

void guest_renew(struct guest *v, struct span notice)
{
    AUTO(buf_deinit) struct buf body = { 0 };
    AUTO(json_value_freep) struct json_value *value = NULL;
    struct json_error error;
    struct json_writer w;
    struct identity who;
    struct span csr, chain, signature;

    if (!v->who.id.text[0] || json_parse(notice, &value, &error) || !check_renewal(v, value, &who) ||
        !json_get_str(value, "csr", &csr) || !json_get_str(value, "chain", &chain) ||
        !json_get_str(value, "signature", &signature)) {
        guest_audit(v, REASON_BAD_PROOF);
        renewal_refused(v, REASON_BAD_PROOF);
        return;
    }
    buf_init_heap(&body, BODY_MAX);
    json_begin(&w, &body);
    json_open_object(&w, NULL);
    json_put_str(&w, "id", ulid_span(&v->who.id));
    json_put_int(&w, "generation", who.generation);
    json_put_str(&w, "csr", csr);
    json_put_str(&w, "chain", chain);           /* the control plane checks it again: it need not */
    json_put_str(&w, "signature", signature);   /* believe a relay */
    json_close_object(&w);
    if (ask(v, "/internal/v1/renew", &body, on_renewed))
        return;
    guest_audit(v, REASON_OVERLOAD);
    renewal_refused(v, REASON_OVERLOAD);
}
