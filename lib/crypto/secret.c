#include "lib/crypto/secret.h"
#include "lib/base/encode.h"
#include "lib/crypto/random.h"

enum { RANDOM_LEN = 32, RANDOM_TEXT = 43, CHECKSUM_LEN = 6 };

static void put_random(struct buf *out)
{
    unsigned char bytes[RANDOM_LEN];

    random_bytes(bytes, sizeof(bytes));
    base64url_encode(span_of(bytes, sizeof(bytes)), out);
    secret_wipe(bytes, sizeof(bytes));
}

static void put_checksum(struct span before, struct buf *out)
{
    unsigned char digest[SHA256_LEN];
    char mem[RANDOM_TEXT];
    struct buf text;

    sha256(before, digest);
    buf_init_fixed(&text, mem, sizeof(mem));
    base64url_encode(span_of(digest, sizeof(digest)), &text);
    buf_put(out, mem, CHECKSUM_LEN);
}

void api_token_make(char ret_token[API_TOKEN_LEN + 1])
{
    struct buf out;

    buf_init_fixed(&out, ret_token, API_TOKEN_LEN);
    buf_put_str(&out, "adit_");
    put_random(&out);
    put_checksum(buf_span(&out), &out);
    ret_token[API_TOKEN_LEN] = '\0';
}

bool api_token_is_well_formed(struct span token)
{
    char mem[CHECKSUM_LEN];
    struct buf sum;

    if (token.n != API_TOKEN_LEN || !span_starts(token, SPAN("adit_")))
        return false;
    buf_init_fixed(&sum, mem, sizeof(mem));
    put_checksum(span_first(token, API_TOKEN_LEN - CHECKSUM_LEN), &sum);
    return span_eq_secret(buf_span(&sum), span_skip(token, API_TOKEN_LEN - CHECKSUM_LEN));
}

void api_token_hash(struct span token, char ret_hex[SHA256_HEX])
{
    sha256_hex(token, ret_hex);
}

void proxy_secret_make(char ret_secret[PROXY_SECRET_LEN + 1])
{
    struct buf out;

    buf_init_fixed(&out, ret_secret, PROXY_SECRET_LEN);
    buf_put_str(&out, "adp_");
    put_random(&out);
    ret_secret[PROXY_SECRET_LEN] = '\0';
}

void proxy_secret_hash(struct span key, struct span secret, char ret_hex[SHA256_HEX])
{
    unsigned char mac[SHA256_LEN];
    struct buf out;

    hmac_sha256(key, secret, mac);
    buf_init_fixed(&out, ret_hex, SHA256_HEX - 1);
    hex_encode(span_of(mac, sizeof(mac)), &out);
    ret_hex[SHA256_HEX - 1] = '\0';
}
