#include "lib/crypto/ca.h"
#include "lib/crypto/cert_internal.h"
#include "lib/crypto/random.h"
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

struct ca {
    struct key *key;
    struct chain *chain;
    struct cert_name name;
};

/* What one certificate is to be made of. */
struct recipe {
    struct cert_name name;
    const struct key *subject;
    const struct ca *issuer;            /* NULL: signed by `subject` itself */
    const struct ca_leaf *leaf;         /* NULL: a CA */
    int64_t not_before_s, not_after_s;
};

static inline void x509_freep(X509 **cert)
{
    X509_free(*cert);
}

static inline void req_freep(X509_REQ **req)
{
    X509_REQ_free(*req);
}

static inline void general_names_freep(GENERAL_NAMES **names)
{
    GENERAL_NAMES_free(*names);
}

static bool set_serial(X509 *cert, uint32_t generation)
{
    unsigned char bytes[SERIAL_LEN] = { 1 };
    struct buf tail;
    BIGNUM *n;
    bool ok;

    random_bytes(bytes + 1, SERIAL_RANDOM);
    buf_init_fixed(&tail, bytes + 1 + SERIAL_RANDOM, sizeof(uint32_t));
    buf_put_u32(&tail, generation);
    n = BN_bin2bn(bytes, sizeof(bytes), NULL);
    ok = n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert));
    BN_free(n);
    return ok;
}

/* For people: machines read the URI. */
static bool set_subject(X509 *cert, const struct cert_name *name)
{
    static const char *const prefix[] = {
        [ROLE_ROOT] = "Adit root CA", [ROLE_ISSUING] = "Adit CA ", [ROLE_LEAF] = ""
    };
    X509_NAME *subject = X509_get_subject_name(cert);
    unsigned char mem[64];
    struct buf cn;

    buf_init_fixed(&cn, mem, sizeof(mem));
    buf_put_str(&cn, prefix[name->role]);
    if (name->role != ROLE_ROOT)
        buf_put_str(&cn, cert_kind_name(name->kind));
    if (name->role == ROLE_LEAF)
        buf_printf(&cn, " %s", name->id.text);
    return buf_error(&cn) == 0 &&
           X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_UTF8,
                                      (const unsigned char *)name->cluster, -1, -1, 0) == 1 &&
           X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, mem, (int)cn.len, -1, 0) == 1;
}

static bool add_name(GENERAL_NAMES *names, int type, const void *bytes, size_t n)
{
    GENERAL_NAME *one = GENERAL_NAME_new();
    ASN1_STRING *value = type == GEN_IPADD ? ASN1_OCTET_STRING_new() : ASN1_IA5STRING_new();

    if (!one || !value || ASN1_STRING_set(value, bytes, (int)n) != 1) {
        GENERAL_NAME_free(one);
        ASN1_STRING_free(value);
        return false;
    }
    GENERAL_NAME_set0_value(one, type, value);
    if (sk_GENERAL_NAME_push(names, one) > 0)
        return true;
    GENERAL_NAME_free(one);
    return false;
}

static bool add_leaf_names(GENERAL_NAMES *names, const struct ca_leaf *leaf)
{
    for (size_t i = 0; i < leaf->dns_count; i++) {
        char canonical[254];

        if (!host_canonical(span_str(leaf->dns_names[i]), canonical) ||
            !add_name(names, GEN_DNS, canonical, strlen(canonical)))
            return false;
    }
    for (size_t i = 0; i < leaf->addr_count; i++) {
        const struct addr *a = &leaf->addrs[i];
        size_t skip = addr_is_v4(a) ? 12 : 0;

        if (!add_name(names, GEN_IPADD, a->ip + skip, sizeof(a->ip) - skip))
            return false;
    }
    return true;
}

static bool set_alt_names(X509 *cert, const struct recipe *r)
{
    AUTO(general_names_freep) GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    char uri[160];

    cert_name_uri(&r->name, uri, sizeof(uri));
    return names && add_name(names, GEN_URI, uri, strlen(uri)) &&
           (!r->leaf || add_leaf_names(names, r->leaf)) &&
           X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) == 1;
}

static bool add_extension(X509 *cert, X509V3_CTX *ctx, int nid, const char *value)
{
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, ctx, nid, value);
    bool ok = e && X509_add_ext(cert, e, -1) == 1;

    X509_EXTENSION_free(e);
    return ok;
}

static const char *extended_usage(enum cert_kind kind)
{
    return kind == CERT_RELAY || kind == CERT_CONTROL ? "serverAuth,clientAuth" : "clientAuth";
}

static bool set_extensions(X509 *cert, X509 *issuer, const struct recipe *r)
{
    static const char *const constraints[] = {
        [ROLE_ROOT] = "critical,CA:TRUE,pathlen:1",
        [ROLE_ISSUING] = "critical,CA:TRUE,pathlen:0",
        [ROLE_LEAF] = "critical,CA:FALSE",
    };
    bool is_leaf = r->name.role == ROLE_LEAF;
    X509V3_CTX ctx;

    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    return add_extension(cert, &ctx, NID_basic_constraints, constraints[r->name.role]) &&
           add_extension(cert, &ctx, NID_key_usage,
                         is_leaf ? "critical,digitalSignature" : "critical,keyCertSign,cRLSign") &&
           add_extension(cert, &ctx, NID_subject_key_identifier, "hash") &&
           add_extension(cert, &ctx, NID_authority_key_identifier, "keyid:always") &&
           (!is_leaf || add_extension(cert, &ctx, NID_ext_key_usage, extended_usage(r->name.kind))) &&
           set_alt_names(cert, r);
}

static int certificate_make(const struct recipe *r, X509 **ret_cert)
{
    AUTO(x509_freep) X509 *cert = X509_new();
    X509 *issuer = r->issuer ? r->issuer->chain->certs[0] : cert;
    const struct key *signer = r->issuer ? r->issuer->key : r->subject;

    if (!cert)
        return -ENOMEM;
    if (r->not_after_s <= r->not_before_s)
        return -EINVAL;
    if (X509_set_version(cert, X509_VERSION_3) != 1 ||
        !set_serial(cert, r->leaf ? r->leaf->generation : 0) || !set_subject(cert, &r->name) ||
        X509_set_issuer_name(cert, X509_get_subject_name(issuer)) != 1 ||
        !ASN1_TIME_set(X509_getm_notBefore(cert), r->not_before_s) ||
        !ASN1_TIME_set(X509_getm_notAfter(cert), r->not_after_s) ||
        X509_set_pubkey(cert, key_openssl(r->subject)) != 1 || !set_extensions(cert, issuer, r) ||
        X509_sign(cert, key_openssl(signer), EVP_sha256()) <= 0) {
        ERR_clear_error();
        return -EINVAL;
    }
    *ret_cert = TAKE(cert);
    return 0;
}

/* `cert` and behind it the chain of `above` (NULL: nothing). */
static int chain_on_top(X509 *cert, const struct chain *above, struct chain **ret_chain)
{
    AUTO(chain_freep) struct chain *c = chain_new();
    int r;

    if (!c)
        return -ENOMEM;
    r = chain_add(c, cert);
    for (size_t i = 0; above && i < above->n && r == 0; i++)
        r = chain_add(c, above->certs[i]);
    if (r)
        return r;
    *ret_chain = TAKE(c);
    return 0;
}

static int ca_new(const struct recipe *recipe, struct key *key, struct ca **ret_ca)
{
    AUTO(x509_freep) X509 *cert = NULL;
    AUTO(chain_freep) struct chain *chain = NULL;
    int r = certificate_make(recipe, &cert);

    if (r)
        return r;
    r = chain_on_top(cert, recipe->issuer ? recipe->issuer->chain : NULL, &chain);
    if (r)
        return r;
    return ca_load(key, chain, ret_ca);
}

int ca_new_root(const char *cluster, int64_t not_before_s, int64_t not_after_s, struct ca **ret_ca)
{
    AUTO(key_freep) struct key *key = NULL;
    struct recipe recipe = { .not_before_s = not_before_s, .not_after_s = not_after_s };
    int r;

    if (!cluster_is_valid(span_str(cluster)))
        return -EINVAL;
    r = key_generate(&key);
    if (r)
        return r;
    recipe.name.role = ROLE_ROOT;
    span_copy(span_str(cluster), recipe.name.cluster, sizeof(recipe.name.cluster));
    recipe.subject = key;
    return ca_new(&recipe, key, ret_ca);
}

int ca_new_issuing(const struct ca *root, enum cert_kind kind, int64_t not_before_s,
                   int64_t not_after_s, struct ca **ret_ca)
{
    AUTO(key_freep) struct key *key = NULL;
    struct recipe recipe = {
        .name = root->name, .issuer = root, .not_before_s = not_before_s, .not_after_s = not_after_s
    };
    int r;

    if (root->name.role != ROLE_ROOT || (unsigned)kind >= CERT_KIND_COUNT)
        return -EINVAL;
    r = key_generate(&key);
    if (r)
        return r;
    recipe.name.role = ROLE_ISSUING;
    recipe.name.kind = kind;
    recipe.subject = key;
    return ca_new(&recipe, key, ret_ca);
}

int ca_load(struct key *key, struct chain *chain, struct ca **ret_ca)
{
    AUTO(ca_freep) struct ca *ca = NULL;
    struct cert_name name;

    if (!key_is_private(key) || !chain_has_key(chain, key) ||
        !cert_name_of(chain->certs[0], &name) || name.role == ROLE_LEAF ||
        chain->n != (name.role == ROLE_ROOT ? 1 : 2))
        return -EINVAL;
    ca = calloc(1, sizeof(*ca));
    if (!ca)
        return -ENOMEM;
    ca->key = key_ref(key);
    ca->chain = chain_ref(chain);
    ca->name = name;
    *ret_ca = TAKE(ca);
    return 0;
}

void ca_free(struct ca *ca)
{
    if (!ca)
        return;
    key_free(ca->key);
    chain_free(ca->chain);
    free(ca);
}

const struct key *ca_key(const struct ca *ca)
{
    return ca->key;
}

const struct chain *ca_chain(const struct ca *ca)
{
    return ca->chain;
}

/* A leaf must not outlive what vouches for it. */
static bool leaf_fits(const struct ca *ca, const struct ca_leaf *leaf)
{
    int64_t end_s;
    struct ulid id;

    return ca->name.role == ROLE_ISSUING && ca->name.kind == leaf->kind &&
           ulid_parse(span_str(leaf->id.text), &id) &&
           leaf->dns_count + leaf->addr_count <= CA_ALT_NAMES_MAX &&
           time_of(X509_get0_notAfter(ca->chain->certs[0]), &end_s) && leaf->not_after_s <= end_s;
}

int ca_issue_for_key(const struct ca *ca, const struct key *key, const struct ca_leaf *leaf,
                     struct chain **ret_chain)
{
    AUTO(x509_freep) X509 *cert = NULL;
    struct recipe recipe = {
        .name = ca->name, .subject = key, .issuer = ca, .leaf = leaf,
        .not_before_s = leaf->not_before_s, .not_after_s = leaf->not_after_s
    };
    int r;

    if (!leaf_fits(ca, leaf))
        return -EINVAL;
    recipe.name.role = ROLE_LEAF;
    recipe.name.id = leaf->id;
    r = certificate_make(&recipe, &cert);
    if (r)
        return r;
    return chain_on_top(cert, ca->chain, ret_chain);
}

int ca_issue(const struct ca *ca, struct span csr_der, const struct ca_leaf *leaf,
             struct chain **ret_chain)
{
    AUTO(key_freep) struct key *key = NULL;
    int r = csr_check(csr_der, &key);

    if (r)
        return r;
    return ca_issue_for_key(ca, key, leaf, ret_chain);
}

int csr_make(const struct key *key, struct buf *ret_der)
{
    AUTO(req_freep) X509_REQ *req = X509_REQ_new();
    unsigned char *at;
    int n;

    if (!key_is_private(key))
        return -EINVAL;
    if (!req || X509_REQ_set_version(req, X509_REQ_VERSION_1) != 1 ||
        X509_REQ_set_pubkey(req, key_openssl(key)) != 1 ||
        X509_REQ_sign(req, key_openssl(key), EVP_sha256()) <= 0)
        return -ENOMEM;
    n = i2d_X509_REQ(req, NULL);
    at = n > 0 ? buf_extend(ret_der, (size_t)n) : NULL;
    if (!at)
        return n > 0 ? buf_error(ret_der) : -ENOMEM;
    i2d_X509_REQ(req, &at);
    return 0;
}

int csr_check(struct span csr_der, struct key **ret_key)
{
    AUTO(req_freep) X509_REQ *req = NULL;
    AUTO(key_freep) struct key *key = NULL;
    const unsigned char *at = (const unsigned char *)csr_der.p;
    int r;

    if (csr_der.n == 0 || csr_der.n > CSR_DER_MAX)
        return -EINVAL;
    req = d2i_X509_REQ(NULL, &at, (long)csr_der.n);
    ERR_clear_error();
    if (!req || at != (const unsigned char *)csr_der.p + csr_der.n)
        return -EINVAL;
    r = key_of_pkey(X509_REQ_get0_pubkey(req), &key);
    if (r)
        return r;
    r = X509_REQ_verify(req, X509_REQ_get0_pubkey(req));
    ERR_clear_error();
    if (r != 1)
        return -EINVAL;
    if (ret_key)
        *ret_key = TAKE(key);
    return 0;
}
