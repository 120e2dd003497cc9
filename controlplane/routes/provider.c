#include "controlplane/routes/doc.h"
#include "controlplane/routes/secret.h"
#include "controlplane/routes/sign_in.h"
#include <errno.h>

#define TEXT_MAX 8192

void provider_init(struct provider *p)
{
    *p = (struct provider){ .algs = 0 };
    buf_init_heap(&p->secret, STORE_SECRET_MAX);
    buf_init_heap(&p->redirect_uri, TEXT_MAX);
    buf_init_heap(&p->issuer, TEXT_MAX);
    buf_init_heap(&p->client_id, TEXT_MAX);
    buf_init_heap(&p->ca, TEXT_MAX);
}

void provider_deinit(struct provider *p)
{
    if (p->secret.len)
        secret_wipe(p->secret.data, p->secret.len);
    buf_deinit(&p->secret);
    buf_deinit(&p->redirect_uri);
    buf_deinit(&p->issuer);
    buf_deinit(&p->client_id);
    buf_deinit(&p->ca);
    store_object_free(p->object);
    json_value_free(p->doc);
}

static int load_secret(struct call *c, struct provider *p)
{
    struct store_secret secret;
    int r = store_secret_get(c->tx, &p->object->id, "client_secret", &secret);

    if (r)
        return r == STORE_E_NOT_FOUND ? 0 : r;
    return issued_unseal(c->api, kind_at(KIND_IDENTITY_PROVIDER), &secret, &p->secret);
}

static void read_algorithms(struct provider *p)
{
    enum jose_alg alg;

    for (size_t i = 0; i < doc_count(p->doc, "algorithms"); i++) {
        if (jose_alg_parse(doc_item(p->doc, "algorithms", i), &alg))
            p->algs |= JOSE_ALG_BIT(alg);
    }
}

int provider_load(struct call *c, struct provider *p)
{
    struct json_error error;
    int r;

    if (!c->api->options.oidc || !c->api->options.public_url)
        return call_not_found(c);
    r = call_find(c, KIND_IDENTITY_PROVIDER, c->req->params[0], &p->object);
    if (!r)
        r = json_parse(p->object->doc, &p->doc, &error);
    if (!r)
        r = load_secret(c, p);
    if (r)
        return r == STORE_E_NOT_FOUND ? call_not_found(c) : r;
    if (!doc_is(p->doc, "status", "active"))
        return call_not_found(c);
    read_algorithms(p);
    buf_put_span(&p->issuer, doc_text(p->doc, "issuer"));
    buf_put_span(&p->client_id, doc_text(p->doc, "client_id"));
    buf_put_span(&p->ca, doc_text(p->doc, "ca"));
    /* Each provider has its own, so that one cannot pass another's codes off as his. */
    buf_printf(&p->redirect_uri, "%s/api/v1/identity-providers/%s/callback", c->api->options.public_url,
               p->object->name);
    return 0;
}

struct oidc_ask provider_ask(struct provider *p)
{
    return (struct oidc_ask){
        .provider = p->object->id,
        .version = p->object->version,
        .issuer = buf_text(&p->issuer),
        .client_id = buf_text(&p->client_id),
        .client_secret = buf_text(&p->secret),
        .ca_pem = buf_text(&p->ca),
        .redirect_uri = buf_text(&p->redirect_uri),
        .algs = p->algs,
    };
}

/* The first run asks and lets go of its thread; the topic's ring runs the call again. */
int provider_wait(struct call *c, const char *key, const struct oidc_ask *ask, struct oidc_answer *ret)
{
    struct oidc *oidc = c->api->options.oidc;
    bool is_first = !c->req->is_woken && !c->req->is_expired;
    int r = is_first ? oidc_begin(oidc, key, ask) : 0;

    if (r == OIDC_E_FULL) {
        c->res->problem.retry_after_s = 1;
        return call_refuse(c, REASON_OVERLOAD, "Too many log-ins wait for identity providers.");
    }
    if (r == OIDC_E_EXISTS)
        return call_refuse(c, REASON_IDENTITY_PROVIDER_REFUSED, "This log-in is under way already.");
    if (r)
        return r;
    *ret = (struct oidc_answer){ .is_done = false };
    if (!oidc_take(oidc, key, ret) || (!ret->is_done && c->req->is_expired))
        return call_refuse(c, REASON_IDENTITY_PROVIDER_UNAVAILABLE, "The provider takes too long.");
    if (ret->is_done)
        return ret->reason == REASON_NONE ? 0 : call_refuse(c, ret->reason, "%s", ret->why);
    response_park(c->res, OIDC_ASK_MS + 1000);
    return CALL_E_ANSWERED;
}
