#include "lib/crypto/digest.h"
#include "lib/base/encode.h"
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <string.h>

/* The library fails here for want of memory or of the algorithm only: nothing to go on with. */
static void must(int ok)
{
    if (ok != 1)
        abort();
}

/* A run is the library's context under another name. */
static EVP_MD_CTX *ctx_of(struct sha256_run *run)
{
    return (EVP_MD_CTX *)(void *)run;
}

static const EVP_MD *sha256_method;

static void fetch_sha256(void)
{
    sha256_method = EVP_MD_fetch(NULL, "SHA256", NULL);
    must(sha256_method != NULL);
}

/* Asked for once: EVP_sha256() has the library look for its code again in every run. */
static const EVP_MD *sha256_code(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, fetch_sha256);
    return sha256_method;
}

struct sha256_run *sha256_run_new(void)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    must(ctx != NULL);
    must(EVP_DigestInit_ex(ctx, sha256_code(), NULL));
    return (struct sha256_run *)(void *)ctx;
}

void sha256_run_add(struct sha256_run *run, struct span bytes)
{
    must(EVP_DigestUpdate(ctx_of(run), bytes.p, bytes.n));
}

void sha256_run_end(struct sha256_run *run, unsigned char ret_digest[SHA256_LEN])
{
    must(EVP_DigestFinal_ex(ctx_of(run), ret_digest, NULL));
}

void sha256_run_free(struct sha256_run *run)
{
    EVP_MD_CTX_free(ctx_of(run));
}

void sha256_parts(const struct span *parts, size_t n, unsigned char ret_digest[SHA256_LEN])
{
    AUTO(sha256_run_freep) struct sha256_run *run = sha256_run_new();

    for (size_t i = 0; i < n; i++)
        sha256_run_add(run, parts[i]);
    sha256_run_end(run, ret_digest);
}

void sha256(struct span bytes, unsigned char ret_digest[SHA256_LEN])
{
    sha256_parts(&bytes, 1, ret_digest);
}

void sha256_hex(struct span bytes, char ret_hex[SHA256_HEX])
{
    unsigned char digest[SHA256_LEN];
    struct buf out;

    sha256(bytes, digest);
    buf_init_fixed(&out, ret_hex, SHA256_HEX - 1);
    hex_encode(span_of(digest, sizeof(digest)), &out);
    ret_hex[SHA256_HEX - 1] = '\0';
}

void sha1_for_websocket(struct span bytes, unsigned char ret_digest[SHA1_LEN])
{
    must(EVP_Digest(bytes.p, bytes.n, ret_digest, NULL, EVP_sha1(), NULL));
}

void hmac_sha256_parts(struct span key, const struct span *parts, size_t n,
                       unsigned char ret_mac[SHA256_LEN])
{
    static const unsigned char none[1];
    unsigned char pad[64] = { 0 }, inner[SHA256_LEN];
    struct sha256_run *run = sha256_run_new();

    if (key.n > sizeof(pad))
        sha256(key, pad);
    else
        memcpy(pad, key.n ? (const void *)key.p : none, key.n);
    for (size_t i = 0; i < sizeof(pad); i++)
        pad[i] ^= 0x36;
    sha256_run_add(run, span_of(pad, sizeof(pad)));
    for (size_t i = 0; i < n; i++)
        sha256_run_add(run, parts[i]);
    sha256_run_end(run, inner);
    sha256_run_free(run);
    for (size_t i = 0; i < sizeof(pad); i++)
        pad[i] ^= 0x36 ^ 0x5c;
    const struct span outer[] = { span_of(pad, sizeof(pad)), span_of(inner, sizeof(inner)) };
    sha256_parts(outer, ARRAY_LEN(outer), ret_mac);
    secret_wipe(pad, sizeof(pad));
    secret_wipe(inner, sizeof(inner));
}

void hmac_sha256(struct span key, struct span bytes, unsigned char ret_mac[SHA256_LEN])
{
    hmac_sha256_parts(key, &bytes, 1, ret_mac);
}

void hkdf_sha256(struct span key, struct span salt, struct span info, void *dst, size_t n)
{
    unsigned char prk[SHA256_LEN], block[SHA256_LEN];
    size_t block_len = 0, done = 0;

    must(n <= (size_t)255 * SHA256_LEN);
    hmac_sha256(salt, key, prk);
    for (unsigned char counter = 1; done < n; counter++) {
        const struct span parts[] = { span_of(block, block_len), info, span_of(&counter, 1) };
        size_t take = n - done < SHA256_LEN ? n - done : SHA256_LEN;

        hmac_sha256_parts(span_of(prk, sizeof(prk)), parts, ARRAY_LEN(parts), block);
        block_len = sizeof(block);
        memcpy((char *)dst + done, block, take);
        done += take;
    }
    secret_wipe(prk, sizeof(prk));
    secret_wipe(block, sizeof(block));
}

void secret_wipe(void *secret, size_t n)
{
    OPENSSL_cleanse(secret, n);
}
