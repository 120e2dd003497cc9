#include "dataplane/relay.h"
#include "lib/base/encode.h"
#include "lib/crypto/ca.h"
#include "lib/http/http_client.h"
#include "lib/json/json.h"
#include "lib/member/member.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define JOIN_TIMEOUT_MS 20000

struct join {
    struct loop *loop;
    struct tls_ctx *tls;
    struct http_client *http;
    struct key *key;
    struct member *member;
    const struct join_token *token;
    struct buf *reterr;
    bool is_over;
    int result;
};

static void join_deinit(struct join *j)
{
    if (j->http)
        http_client_free(j->http);
    if (j->tls)
        tls_ctx_unref(j->tls);
    if (j->key)
        key_free(j->key);
    if (j->member)
        member_free(j->member);
    if (j->loop)
        loop_free(j->loop);
}

static void explain(struct join *j, const struct http_answer *answer)
{
    AUTO(json_value_freep) struct json_value *value = NULL;
    struct json_error error;
    struct span text = SPAN_NONE;
    enum reason why = answer->refusal;

    if (answer->status && !json_parse(answer->body, &value, &error) && json_get_str(value, "reason", &text))
        why = reason_find(text);
    if (why != REASON_NONE && why != REASON_COUNT)
        buf_printf(j->reterr, "refused: %s. %s %s", reason_text(why), reason_what(why), reason_cure(why));
    else
        buf_printf(j->reterr, "the control plane did not take the join (%s). Check that it runs and can be "
                   "reached from here: --control", answer->text);
}

static void on_answer(void *user, const struct http_answer *answer)
{
    struct join *j = user;
    AUTO(json_value_freep) struct json_value *value = NULL;
    struct json_error error;
    struct span pem;

    j->is_over = true;
    j->result = -EPERM;
    if (answer->status != 201 && answer->status != 200) {
        explain(j, answer);
        return;
    }
    if (json_parse(answer->body, &value, &error) || !json_get_str(value, "certificate", &pem)) {
        buf_printf(j->reterr, "the control plane's answer holds no certificate");
        return;
    }
    j->result = member_adopt(j->member, j->token, j->key, pem, (int64_t)(wall_ms() / 1000), j->reterr);
}

static bool is_over(void *arg)
{
    return ((const struct join *)arg)->is_over;
}

static int make_body(struct join *j, struct buf *out)
{
    AUTO(buf_deinit) struct buf der = { 0 };
    AUTO(buf_deinit) struct buf text = { 0 };
    char mac[JOIN_MAC_LEN + 1];
    struct json_writer w;
    int r = key_generate(&j->key);

    buf_init_heap(&der, CSR_DER_MAX);
    buf_init_heap(&text, 2 * CSR_DER_MAX);
    if (!r)
        r = csr_make(j->key, &der);
    if (r)
        return r;
    base64url_encode(buf_span(&der), &text);
    join_mac(j->token->secret, &j->token->id, buf_span(&der), mac);
    json_begin(&w, out);
    json_open_object(&w, NULL);
    json_put_str(&w, "token_id", ulid_span(&j->token->id));
    json_put_str(&w, "csr", buf_span(&text));
    json_put_text(&w, "mac", mac);
    json_close_object(&w);
    return buf_error(out);
}

/* The server has to hang below the root that the token pins: nobody else can be joined. */
static int make_client(struct join *j)
{
    struct tls_config tls = { .verify = TLS_VERIFY_REQUIRED, .kinds = TLS_KIND(CERT_CONTROL) };
    int r = loop_new(&j->loop);

    memcpy(tls.trust.cluster, j->token->cluster, sizeof(tls.trust.cluster));
    memcpy(tls.trust.pin, j->token->pin, sizeof(tls.trust.pin));
    if (!r)
        r = tls_ctx_new(&tls, &j->tls);
    return r ? r : http_client_new(j->loop, j->tls, &j->http);
}

static int ask(struct join *j, const char *control)
{
    AUTO(buf_deinit) struct buf body = { 0 };
    char url[512];
    struct http_request request = { .method = "POST", .url = url, .timeout_ms = JOIN_TIMEOUT_MS };
    struct http_call *call;
    int r;

    buf_init_heap(&body, 16384);
    snprintf(url, sizeof(url), "%s/api/v1/join", control);
    r = make_body(j, &body);
    if (r)
        return r;
    request.body = buf_span(&body);
    r = http_client_send(j->http, &request, on_answer, j, &call);
    if (r)
        return r;
    if (!loop_run_until(j->loop, is_over, j, JOIN_TIMEOUT_MS + 1000))
        return -ETIMEDOUT;
    return j->result;
}

int relay_join(const struct relay_config *config, struct span token_text, struct buf *reterr)
{
    AUTO(join_deinit) struct join j = { .reterr = reterr };
    struct join_token token;
    int r = join_token_parse(token_text, &token);

    if (r || token.kind != CERT_RELAY) {
        buf_printf(reterr, "this is not a join token for a relay; an admin makes one with: "
                   "adit join-token create --kind relay");
        return RELAY_CONFIG;
    }
    j.token = &token;
    r = member_open(CERT_RELAY, config->data_dir, &j.member, reterr);
    if (!r)
        r = make_client(&j);
    if (!r)
        r = ask(&j, config->control);
    if (r && reterr->len == 0)
        buf_printf(reterr, "cannot join by %s: %s", config->control, strerror(-r));
    if (!r)
        printf("joined cluster %s as relay %s; the identity is in %s\n", j.member->trust.cluster,
               j.member->self.id.text, config->data_dir);
    join_token_wipe(&token);
    return r ? RELAY_FAILED : RELAY_OK;
}
