#include "agent/uplink/notice.h"
#include "lib/base/encode.h"
#include "lib/crypto/ca.h"
#include "lib/json/json.h"
#include <errno.h>

#define FIRST_RETRY_MAX_MS 3600000

int notice_chain(struct span body, char **ret_pem, struct buf *reterr)
{
    AUTO(json_value_freep) struct json_value *value = NULL;
    struct json_error error;
    struct span pem;
    int r = json_parse(body, &value, &error);

    if (!r && !json_get_str(value, "chain", &pem))
        r = -EINVAL;
    if (r) {
        buf_printf(reterr, "the relay's answer holds no certificate chain");
        return r;
    }
    *ret_pem = span_dup(pem);
    return *ret_pem ? 0 : -ENOMEM;
}

int notice_retry(struct span body, int64_t *ret_first_retry_ms)
{
    AUTO(json_value_freep) struct json_value *value = NULL;
    struct json_error error;
    int64_t ms;
    int r = json_parse(body, &value, &error);

    if (!r && (!json_get_int(value, "first_retry_ms", &ms) || ms < 0 || ms > FIRST_RETRY_MAX_MS))
        r = -EINVAL;
    if (!r)
        *ret_first_retry_ms = ms;
    return r;
}

int notice_renew(struct span csr_der, const struct chain *chain, const struct key *key, struct buf *out)
{
    AUTO(buf_deinit) struct buf pem = { 0 };
    char csr_mem[2 * CSR_DER_MAX], der_mem[KEY_SIGNATURE_MAX], signature_mem[2 * KEY_SIGNATURE_MAX];
    struct buf csr, der, signature;
    struct json_writer w;
    int r;

    buf_init_heap(&pem, CERT_PEM_MAX);
    buf_init_fixed(&csr, csr_mem, sizeof(csr_mem));
    buf_init_fixed(&der, der_mem, sizeof(der_mem));
    buf_init_fixed(&signature, signature_mem, sizeof(signature_mem));
    r = chain_pem(chain, &pem);
    if (!r)
        r = key_sign(key, csr_der, &der);
    if (r)
        return r;
    base64url_encode(csr_der, &csr);
    base64url_encode(buf_span(&der), &signature);
    json_begin(&w, out);
    json_open_object(&w, NULL);
    json_put_str(&w, "csr", buf_span(&csr));
    json_put_str(&w, "chain", buf_span(&pem));
    json_put_str(&w, "signature", buf_span(&signature));
    json_close_object(&w);
    return buf_error(&csr) | buf_error(&signature) | buf_error(out);
}
