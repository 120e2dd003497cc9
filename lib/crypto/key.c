#include "lib/crypto/key.h"
#include "lib/crypto/digest.h"
#include "lib/crypto/file.h"
#include <errno.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <string.h>

struct key {
    EVP_PKEY *pkey;
    unsigned refs;
    bool is_private;
};

static inline void bio_freep(BIO **bio)
{
    BIO_free(*bio);
}

static inline void md_ctx_freep(EVP_MD_CTX **ctx)
{
    EVP_MD_CTX_free(*ctx);
}

static int bio_to_buf(BIO *bio, struct buf *out)
{
    char *bytes;
    long n = BIO_get_mem_data(bio, &bytes);

    buf_put(out, bytes, (size_t)n);
    return buf_error(out);
}

/* Takes `pkey` over, also when it refuses it. */
static int key_wrap(EVP_PKEY *pkey, bool is_private, struct key **ret_key)
{
    char group[32];
    struct key *k;

    ERR_clear_error();
    if (!pkey)
        return -EINVAL;
    if (!EVP_PKEY_is_a(pkey, "EC") ||
        EVP_PKEY_get_group_name(pkey, group, sizeof(group), NULL) != 1 ||
        strcmp(group, "prime256v1") != 0) {
        EVP_PKEY_free(pkey);
        return -EINVAL;
    }
    k = calloc(1, sizeof(*k));
    if (!k) {
        EVP_PKEY_free(pkey);
        return -ENOMEM;
    }
    *k = (struct key){ .pkey = pkey, .refs = 1, .is_private = is_private };
    *ret_key = k;
    return 0;
}

int key_generate(struct key **ret_key)
{
    EVP_PKEY *pkey = EVP_EC_gen("P-256");

    return pkey ? key_wrap(pkey, true, ret_key) : -ENOMEM;
}

struct key *key_ref(struct key *k)
{
    __atomic_add_fetch(&k->refs, 1, __ATOMIC_RELAXED);
    return k;
}

void key_free(struct key *k)
{
    if (!k || __atomic_sub_fetch(&k->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    EVP_PKEY_free(k->pkey);
    free(k);
}

bool key_is_private(const struct key *k)
{
    return k->is_private;
}

/* An encrypted file must not make the library ask on the terminal. */
static int no_passphrase(char *dst, int size, int rwflag, void *arg)
{
    (void)dst, (void)size, (void)rwflag, (void)arg;
    return -1;
}

int key_parse_private_pem(struct span pem, struct key **ret_key)
{
    AUTO(bio_freep) BIO *bio = NULL;

    if (pem.n > KEY_PEM_MAX * 4)
        return -EINVAL;
    bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    if (!bio)
        return -ENOMEM;
    return key_wrap(PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL), true, ret_key);
}

int key_private_pem(const struct key *k, struct buf *out)
{
    AUTO(bio_freep) BIO *bio = BIO_new(BIO_s_secmem());

    if (!k->is_private)
        return -EINVAL;
    if (!bio || PEM_write_bio_PKCS8PrivateKey(bio, k->pkey, NULL, NULL, 0, NULL, NULL) != 1)
        return -ENOMEM;
    return bio_to_buf(bio, out);
}

int key_parse_public_der(struct span der, struct key **ret_key)
{
    const unsigned char *at = (const unsigned char *)der.p;
    EVP_PKEY *pkey;

    if (der.n == 0 || der.n > KEY_PUBLIC_DER_MAX)
        return -EINVAL;
    pkey = d2i_PUBKEY(NULL, &at, (long)der.n);
    if (pkey && at != (const unsigned char *)der.p + der.n) {
        EVP_PKEY_free(pkey);
        return -EINVAL;
    }
    return key_wrap(pkey, false, ret_key);
}

int key_parse_public_pem(struct span pem, struct key **ret_key)
{
    AUTO(bio_freep) BIO *bio = NULL;

    if (pem.n > KEY_PEM_MAX)
        return -EINVAL;
    bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    if (!bio)
        return -ENOMEM;
    return key_wrap(PEM_read_bio_PUBKEY(bio, NULL, no_passphrase, NULL), false, ret_key);
}

int key_public_der(const struct key *k, struct buf *out)
{
    unsigned char der[KEY_PUBLIC_DER_MAX], *at = der;
    int n = i2d_PUBKEY(k->pkey, NULL);

    if (n <= 0 || n > (int)sizeof(der))
        return -EINVAL;
    i2d_PUBKEY(k->pkey, &at);
    buf_put(out, der, (size_t)n);
    return buf_error(out);
}

int key_public_pem(const struct key *k, struct buf *out)
{
    AUTO(bio_freep) BIO *bio = BIO_new(BIO_s_mem());

    if (!bio || PEM_write_bio_PUBKEY(bio, k->pkey) != 1)
        return -ENOMEM;
    return bio_to_buf(bio, out);
}

int key_fingerprint(const struct key *k, char ret_hex[65])
{
    unsigned char mem[KEY_PUBLIC_DER_MAX];
    struct buf der;
    int r;

    buf_init_fixed(&der, mem, sizeof(mem));
    r = key_public_der(k, &der);
    if (r)
        return r;
    sha256_hex(buf_span(&der), ret_hex);
    return 0;
}

int key_save(const struct key *k, const char *path)
{
    unsigned char mem[KEY_PEM_MAX];
    struct buf pem;
    int r;

    buf_init_fixed(&pem, mem, sizeof(mem));
    r = key_private_pem(k, &pem);
    if (!r)
        r = file_write_atomic(path, buf_span(&pem), 0600);
    secret_wipe(mem, sizeof(mem));
    return r;
}

int key_load(const char *path, struct key **ret_key)
{
    unsigned char mem[KEY_PEM_MAX * 4];
    struct buf pem;
    int r;

    buf_init_fixed(&pem, mem, sizeof(mem));
    r = file_read(path, sizeof(mem), &pem);
    if (!r)
        r = key_parse_private_pem(buf_span(&pem), ret_key);
    secret_wipe(mem, sizeof(mem));
    return r;
}

int key_load_or_make(const char *path, struct key **ret_key)
{
    AUTO(key_freep) struct key *k = NULL;
    int r = key_load(path, ret_key);

    if (r != -ENOENT)
        return r;
    r = key_generate(&k);
    if (r)
        return r;
    r = key_save(k, path);
    if (r)
        return r;
    *ret_key = TAKE(k);
    return 0;
}

int key_sign_parts(const struct key *k, const struct span *parts, size_t n, struct buf *out)
{
    AUTO(md_ctx_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    unsigned char signature[KEY_SIGNATURE_MAX];
    size_t len = sizeof(signature);

    if (!k->is_private)
        return -EINVAL;
    if (!ctx || EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, k->pkey) != 1)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        if (EVP_DigestSignUpdate(ctx, parts[i].p, parts[i].n) != 1)
            return -ENOMEM;
    }
    if (EVP_DigestSignFinal(ctx, signature, &len) != 1)
        return -ENOMEM;
    buf_put(out, signature, len);
    return buf_error(out);
}

bool key_verify_parts(const struct key *k, const struct span *parts, size_t n,
                      struct span signature)
{
    AUTO(md_ctx_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx && EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, k->pkey) == 1;

    for (size_t i = 0; i < n && ok; i++)
        ok = EVP_DigestVerifyUpdate(ctx, parts[i].p, parts[i].n) == 1;
    ok = ok && EVP_DigestVerifyFinal(ctx, (const unsigned char *)signature.p, signature.n) == 1;
    ERR_clear_error();
    return ok;
}

int key_sign(const struct key *k, struct span bytes, struct buf *out)
{
    return key_sign_parts(k, &bytes, 1, out);
}

bool key_verify(const struct key *k, struct span bytes, struct span signature)
{
    return key_verify_parts(k, &bytes, 1, signature);
}

struct evp_pkey_st *key_openssl(const struct key *k)
{
    return k->pkey;
}
