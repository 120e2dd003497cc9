#include "lib/crypto/cert_internal.h"
#include "lib/base/encode.h"
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const char *const kind_names[CERT_KIND_COUNT] = {
    [CERT_AGENT] = "agent",
    [CERT_RELAY] = "relay",
    [CERT_CONTROL] = "control",
    [CERT_USER] = "user",
};

static inline void bio_freep(BIO **bio)
{
    BIO_free(*bio);
}

static inline void general_names_freep(GENERAL_NAMES **names)
{
    GENERAL_NAMES_free(*names);
}

const char *cert_kind_name(enum cert_kind kind)
{
    return (unsigned)kind < CERT_KIND_COUNT ? kind_names[kind] : "none";
}

bool cert_kind_parse(struct span text, enum cert_kind *ret_kind)
{
    for (enum cert_kind k = 0; k < CERT_KIND_COUNT; k++) {
        if (span_eq(text, span_str(kind_names[k]))) {
            *ret_kind = k;
            return true;
        }
    }
    return false;
}

bool cluster_is_valid(struct span cluster)
{
    if (cluster.n < 1 || cluster.n > CERT_CLUSTER_MAX)
        return false;
    for (size_t i = 0; i < cluster.n; i++) {
        char c = cluster.p[i];

        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-')
            return false;
    }
    return true;
}

/* "<cluster>/ca/root", "<cluster>/ca/<kind>", "<cluster>/<kind>/<ulid>" */
static bool name_parse(struct span uri, struct cert_name *ret)
{
    struct span rest = uri, cluster, middle;

    if (!span_starts(uri, SPAN("adit://")))
        return false;
    rest = span_skip(uri, sizeof("adit://") - 1);
    if (!span_cut(&rest, '/', &cluster) || !span_cut(&rest, '/', &middle) || !rest.p)
        return false;
    if (!cluster_is_valid(cluster) || !span_copy(cluster, ret->cluster, sizeof(ret->cluster)))
        return false;
    if (!span_eq(middle, SPAN("ca"))) {
        ret->role = ROLE_LEAF;
        return cert_kind_parse(middle, &ret->kind) && ulid_parse(rest, &ret->id);
    }
    ret->role = span_eq(rest, SPAN("root")) ? ROLE_ROOT : ROLE_ISSUING;
    return ret->role == ROLE_ROOT || cert_kind_parse(rest, &ret->kind);
}

bool cert_name_of(const X509 *cert, struct cert_name *ret_name)
{
    AUTO(general_names_freep) GENERAL_NAMES *names = NULL;
    const ASN1_IA5STRING *uri = NULL;
    struct cert_name name = { 0 };

    names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *one = sk_GENERAL_NAME_value(names, i);

        if (one->type != GEN_URI)
            continue;
        if (uri)
            return false;
        uri = one->d.uniformResourceIdentifier;
    }
    if (!uri || !name_parse(span_of(ASN1_STRING_get0_data(uri), (size_t)ASN1_STRING_length(uri)),
                            &name))
        return false;
    *ret_name = name;
    return true;
}

void cert_name_uri(const struct cert_name *name, char *dst, size_t dst_size)
{
    static const char *const middles[] = { [ROLE_ROOT] = "ca", [ROLE_ISSUING] = "ca" };
    const char *kind = name->role == ROLE_ROOT ? "root" : cert_kind_name(name->kind);

    if (name->role == ROLE_LEAF)
        snprintf(dst, dst_size, "adit://%s/%s/%s", name->cluster, kind, name->id.text);
    else
        snprintf(dst, dst_size, "adit://%s/%s/%s", name->cluster, middles[name->role], kind);
}

struct chain *chain_new(void)
{
    struct chain *c = calloc(1, sizeof(*c));

    if (c)
        c->refs = 1;
    return c;
}

struct chain *chain_ref(struct chain *c)
{
    __atomic_add_fetch(&c->refs, 1, __ATOMIC_RELAXED);
    return c;
}

void chain_free(struct chain *c)
{
    if (!c || __atomic_sub_fetch(&c->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    for (size_t i = 0; i < c->n; i++)
        X509_free(c->certs[i]);
    free(c);
}

int chain_add(struct chain *c, X509 *cert)
{
    if (c->n == CERT_CHAIN_MAX)
        return -EINVAL;
    X509_up_ref(cert);
    c->certs[c->n++] = cert;
    return 0;
}

size_t chain_length(const struct chain *c)
{
    return c->n;
}

/* Reads the certificates of the text into `c`; other PEM blocks are refused. */
static int read_pems(BIO *bio, struct chain *c)
{
    for (;;) {
        X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        unsigned long error = ERR_peek_last_error();
        int r;

        ERR_clear_error();
        if (!cert)
            return ERR_GET_REASON(error) == PEM_R_NO_START_LINE && c->n > 0 ? 0 : -EINVAL;
        r = chain_add(c, cert);
        X509_free(cert);
        if (r)
            return r;
    }
}

int chain_parse_pem(struct span pem, struct chain **ret_chain)
{
    AUTO(chain_freep) struct chain *c = chain_new();
    AUTO(bio_freep) BIO *bio = NULL;
    int r;

    if (pem.n == 0 || pem.n > CERT_PEM_MAX)
        return -EINVAL;
    bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    if (!c || !bio)
        return -ENOMEM;
    r = read_pems(bio, c);
    if (r)
        return r;
    *ret_chain = TAKE(c);
    return 0;
}

int chain_parse_der(const struct span *certs, size_t n, struct chain **ret_chain)
{
    AUTO(chain_freep) struct chain *c = chain_new();

    if (!c)
        return -ENOMEM;
    if (n == 0)
        return -EINVAL;
    for (size_t i = 0; i < n; i++) {
        const unsigned char *at = (const unsigned char *)certs[i].p;
        X509 *cert = certs[i].n > CERT_PEM_MAX ? NULL : d2i_X509(NULL, &at, (long)certs[i].n);
        int r = cert && at == (const unsigned char *)certs[i].p + certs[i].n ? chain_add(c, cert)
                                                                           : -EINVAL;

        X509_free(cert);
        ERR_clear_error();
        if (r)
            return r;
    }
    *ret_chain = TAKE(c);
    return 0;
}

static int put_pem(X509 *cert, struct buf *out)
{
    AUTO(bio_freep) BIO *bio = BIO_new(BIO_s_mem());
    char *text;
    long n;

    if (!bio || PEM_write_bio_X509(bio, cert) != 1)
        return -ENOMEM;
    n = BIO_get_mem_data(bio, &text);
    buf_put(out, text, (size_t)n);
    return buf_error(out);
}

int chain_pem(const struct chain *c, struct buf *out)
{
    int r = 0;

    for (size_t i = 0; i < c->n && r == 0; i++)
        r = put_pem(c->certs[i], out);
    return r;
}

int chain_root_pem(const struct chain *c, struct buf *out)
{
    return put_pem(c->certs[c->n - 1], out);
}

int chain_der(const struct chain *c, size_t i, struct buf *out)
{
    int n = i < c->n ? i2d_X509(c->certs[i], NULL) : -1;
    unsigned char *at;

    if (n <= 0)
        return -EINVAL;
    at = buf_extend(out, (size_t)n);
    if (!at)
        return buf_error(out);
    i2d_X509(c->certs[i], &at);
    return 0;
}

static int fingerprint(const X509 *cert, char ret_hex[SHA256_HEX])
{
    unsigned char digest[SHA256_LEN];
    struct buf out;

    if (X509_digest(cert, EVP_sha256(), digest, NULL) != 1)
        return -ENOMEM;
    buf_init_fixed(&out, ret_hex, SHA256_HEX - 1);
    hex_encode(span_of(digest, sizeof(digest)), &out);
    ret_hex[SHA256_HEX - 1] = '\0';
    return 0;
}

int chain_root_pin(const struct chain *c, char ret_pin[SHA256_HEX])
{
    return fingerprint(c->certs[c->n - 1], ret_pin);
}

int key_of_pkey(const EVP_PKEY *pkey, struct key **ret_key)
{
    unsigned char der[KEY_PUBLIC_DER_MAX], *at = der;
    int n = pkey ? i2d_PUBKEY(pkey, NULL) : -1;

    if (n <= 0 || n > (int)sizeof(der))
        return -EINVAL;
    i2d_PUBKEY(pkey, &at);
    return key_parse_public_der(span_of(der, (size_t)n), ret_key);
}

int chain_public_key(const struct chain *c, size_t i, struct key **ret_key)
{
    return i < c->n ? key_of_pkey(X509_get0_pubkey(c->certs[i]), ret_key) : -EINVAL;
}

bool chain_has_key(const struct chain *c, const struct key *k)
{
    const EVP_PKEY *leaf = X509_get0_pubkey(c->certs[0]);

    return leaf && EVP_PKEY_eq(leaf, key_openssl(k)) == 1;
}

bool time_of(const ASN1_TIME *t, int64_t *ret_s)
{
    struct tm tm;

    if (!t || ASN1_TIME_to_tm(t, &tm) != 1)
        return false;
    *ret_s = timegm(&tm);
    return true;
}

/* The serial number's last four bytes, where it has our form. */
static bool generation_of(const X509 *cert, uint32_t *ret_generation)
{
    const ASN1_INTEGER *serial = X509_get0_serialNumber(cert);
    struct reader r;

    reader_init(&r, span_of(ASN1_STRING_get0_data(serial), (size_t)ASN1_STRING_length(serial)));
    if (r.n != SERIAL_LEN || read_u8(&r) != 1)
        return false;
    read_span(&r, SERIAL_RANDOM);
    *ret_generation = read_u32(&r);
    return r.error == 0;
}

int chain_identity(const struct chain *c, struct identity *ret_identity)
{
    struct identity id = { 0 };
    struct cert_name name;
    const X509 *leaf = c->certs[0];

    if (!cert_name_of(leaf, &name) || name.role != ROLE_LEAF ||
        !generation_of(leaf, &id.generation) ||
        !time_of(X509_get0_notBefore(leaf), &id.not_before_s) ||
        !time_of(X509_get0_notAfter(leaf), &id.not_after_s))
        return -EINVAL;
    memcpy(id.cluster, name.cluster, sizeof(id.cluster));
    id.kind = name.kind;
    id.id = name.id;
    if (fingerprint(leaf, id.fingerprint))
        return -ENOMEM;
    *ret_identity = id;
    return 0;
}
