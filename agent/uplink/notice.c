#include "agent/uplink/notice.h"
#include "lib/base/encode.h"
#include "lib/crypto/ca.h"
#include "lib/json/json.h"
#include <errno.h>

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

void notice_renew(struct span csr_der, struct buf *out)
{
    char mem[2 * CSR_DER_MAX];
    struct buf text;
    struct json_writer w;

    buf_init_fixed(&text, mem, sizeof(mem));
    base64url_encode(csr_der, &text);
    json_begin(&w, out);
    json_open_object(&w, NULL);
    json_put_str(&w, "csr", buf_span(&text));
    json_close_object(&w);
}
