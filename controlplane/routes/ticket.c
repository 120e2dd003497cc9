#include "controlplane/routes/ticket.h"
#include "lib/base/encode.h"
#include "lib/crypto/digest.h"

static void mac_of(const struct kek *kek, const char *purpose, struct span payload, unsigned char mac[SHA256_LEN])
{
    unsigned char key[SHA256_LEN];

    hkdf_sha256(span_of(kek->bytes, KEK_LEN), SPAN("adit ticket"), span_str(purpose), key, sizeof(key));
    hmac_sha256(span_of(key, sizeof(key)), payload, mac);
    secret_wipe(key, sizeof(key));
}

void ticket_derive(const struct kek *kek, const char *purpose, struct span from, char ret_text[TICKET_DERIVED_MAX])
{
    unsigned char mac[SHA256_LEN];
    struct buf out;

    mac_of(kek, purpose, from, mac);
    buf_init_fixed(&out, ret_text, TICKET_DERIVED_MAX);
    base64url_encode(span_of(mac, sizeof(mac)), &out);
    ret_text[out.len] = '\0';
}

int ticket_write(const struct kek *kek, const char *purpose, struct span payload, struct buf *out)
{
    char mac[TICKET_DERIVED_MAX];

    ticket_derive(kek, purpose, payload, mac);
    base64url_encode(payload, out);
    buf_put_u8(out, '.');
    buf_put_str(out, mac);
    return buf_error(out);
}

int ticket_read(const struct kek *kek, const char *purpose, struct span ticket, struct buf *ret_payload)
{
    char mac[TICKET_DERIVED_MAX];
    struct span rest = ticket, payload;

    if (!span_cut(&rest, '.', &payload) || !rest.p || !base64url_decode(payload, ret_payload))
        return -EBADMSG;
    if (buf_error(ret_payload))
        return buf_error(ret_payload);
    ticket_derive(kek, purpose, buf_span(ret_payload), mac);
    return span_eq_secret(rest, span_str(mac)) ? 0 : -EBADMSG;
}
