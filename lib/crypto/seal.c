#include "lib/crypto/seal.h"
#include "lib/base/encode.h"
#include "lib/crypto/digest.h"
#include "lib/crypto/file.h"
#include "lib/crypto/random.h"
#include <errno.h>
#include <limits.h>
#include <openssl/evp.h>
#include <string.h>

enum { NONCE_LEN = 12, TAG_LEN = 16, MAGIC_LEN = 9, KEK_HEX = 2 * KEK_LEN };
static const char magic[] = "aditseal1";

static inline void cipher_ctx_freep(EVP_CIPHER_CTX **ctx)
{
    EVP_CIPHER_CTX_free(*ctx);
}

static int kek_make(const char *path, struct kek *ret_kek)
{
    char hex[KEK_HEX + 1];
    struct buf out;
    int r;

    random_bytes(ret_kek->bytes, KEK_LEN);
    buf_init_fixed(&out, hex, sizeof(hex));
    hex_encode(span_of(ret_kek->bytes, KEK_LEN), &out);
    buf_put_str(&out, "\n");
    r = file_write_atomic(path, buf_span(&out), 0600);
    secret_wipe(hex, sizeof(hex));
    return r;
}

int kek_load(const char *path, struct kek *ret_kek)
{
    char hex[KEK_HEX + 2];
    struct buf in, out;
    struct span text;
    int r;

    buf_init_fixed(&in, hex, sizeof(hex));
    r = file_read(path, sizeof(hex), &in);
    if (r)
        return r;
    text = buf_span(&in);
    while (text.n > 0 && (text.p[text.n - 1] == '\n' || text.p[text.n - 1] == '\r'))
        text.n--;
    buf_init_fixed(&out, ret_kek->bytes, KEK_LEN);
    if (text.n != KEK_HEX || !hex_decode(text, &out) || out.len != KEK_LEN)
        r = -EINVAL;
    secret_wipe(hex, sizeof(hex));
    return r;
}

int kek_load_or_make(const char *path, struct kek *ret_kek)
{
    int r = kek_load(path, ret_kek);

    return r == -ENOENT ? kek_make(path, ret_kek) : r;
}

void kek_wipe(struct kek *k)
{
    secret_wipe(k, sizeof(*k));
}

static const unsigned char *bytes_of(struct span s)
{
    return (const unsigned char *)s.p;
}

int seal(const struct kek *k, struct span label, struct span plain, struct buf *out)
{
    AUTO(cipher_ctx_freep) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    unsigned char *at, *nonce;
    int n;

    if (plain.n > INT_MAX - SEAL_OVERHEAD || label.n > INT_MAX)
        return -ENOBUFS;
    at = buf_extend(out, plain.n + SEAL_OVERHEAD);
    if (!ctx || !at)
        return ctx ? buf_error(out) : -ENOMEM;

    nonce = at + MAGIC_LEN;
    memcpy(at, magic, MAGIC_LEN);
    random_bytes(nonce, NONCE_LEN);
    at = nonce + NONCE_LEN;
    if (EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, k->bytes, nonce) != 1 ||
        EVP_EncryptUpdate(ctx, NULL, &n, bytes_of(label), (int)label.n) != 1 ||
        EVP_EncryptUpdate(ctx, at, &n, bytes_of(plain), (int)plain.n) != 1 ||
        EVP_EncryptFinal_ex(ctx, at + n, &n) != 1 ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TAG_LEN, at + plain.n) != 1)
        return -ENOMEM;
    return 0;
}

int unseal(const struct kek *k, struct span label, struct span sealed, struct buf *out)
{
    AUTO(cipher_ctx_freep) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    struct span nonce, text, tag;
    unsigned char *at, tag_copy[TAG_LEN];
    int n;

    if (!ctx)
        return -ENOMEM;
    if (sealed.n < SEAL_OVERHEAD || sealed.n > INT_MAX || label.n > INT_MAX ||
        !span_starts(sealed, SPAN("aditseal1")))
        return -EBADMSG;
    nonce = span_skip(sealed, MAGIC_LEN);
    text = span_skip(nonce, NONCE_LEN);
    text.n -= TAG_LEN;
    tag = span_of(text.p + text.n, TAG_LEN);
    memcpy(tag_copy, tag.p, TAG_LEN);
    at = buf_extend(out, text.n);
    if (!at)
        return buf_error(out);
    if (EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, k->bytes, bytes_of(nonce)) != 1 ||
        EVP_DecryptUpdate(ctx, NULL, &n, bytes_of(label), (int)label.n) != 1 ||
        EVP_DecryptUpdate(ctx, at, &n, bytes_of(text), (int)text.n) != 1 ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG_LEN, tag_copy) != 1 ||
        EVP_DecryptFinal_ex(ctx, at + text.n, &n) != 1) {
        secret_wipe(at, text.n);
        out->len -= text.n;
        return -EBADMSG;
    }
    return 0;
}
