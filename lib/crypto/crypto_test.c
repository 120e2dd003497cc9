#include "lib/base/encode.h"
#include "lib/check/check.h"
#include "lib/crypto/digest.h"
#include "lib/crypto/file.h"
#include "lib/crypto/key.h"
#include "lib/crypto/password.h"
#include "lib/crypto/random.h"
#include "lib/crypto/seal.h"
#include "lib/crypto/secret.h"
#include <stdio.h>
#include <sys/stat.h>

static char dir[] = "/tmp/adit-crypto-test.XXXXXX";

static int set_up(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    return rmdir(dir);
}

static const char *path_of(const char *name)
{
    static char path[256];

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

static void assert_hex(const void *bytes, size_t n, const char *want)
{
    char mem[256];
    struct buf out;

    buf_init_fixed(&out, mem, sizeof(mem));
    hex_encode(span_of(bytes, n), &out);
    assert_string_equal(buf_text(&out), want);
}

static void test_digests(void **state)
{
    unsigned char d[SHA256_LEN], okm[42], key[131], ikm[22], salt[13], info[10];

    (void)state;
    check_row("hashes as FIPS 180-4 says");
    sha256(SPAN("abc"), d);
    assert_hex(d, sizeof(d), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    sha1_for_websocket(SPAN("dGhlIHNhbXBsZSBub25jZQ==258EAFA5-E914-47DA-95CA-C5AB0DC85B11"), d);
    assert_hex(d, SHA1_LEN, "b37a4f2cc0624f1690f64606cf385945b2bec4ea");
    check_row("makes RFC 4231's MACs (cases 2 and 6)");
    hmac_sha256(SPAN("Jefe"), SPAN("what do ya want for nothing?"), d);
    assert_hex(d, sizeof(d), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof(key));
    hmac_sha256(span_of(key, sizeof(key)),
                SPAN("Test Using Larger Than Block-Size Key - Hash Key First"), d);
    assert_hex(d, sizeof(d), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    check_row("expands as RFC 5869 says (case 1)");
    memset(ikm, 0x0b, sizeof(ikm));
    for (size_t i = 0; i < sizeof(salt); i++)
        salt[i] = (unsigned char)i;
    for (size_t i = 0; i < sizeof(info); i++)
        info[i] = (unsigned char)(0xf0 + i);
    hkdf_sha256(span_of(ikm, sizeof(ikm)), span_of(salt, sizeof(salt)), span_of(info, sizeof(info)),
                okm, sizeof(okm));
    assert_hex(okm, sizeof(okm), "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
                                 "34007208d5b887185865");
}

static void test_keys(void **state)
{
    AUTO(key_freep) struct key *k = NULL, *loaded = NULL, *public = NULL, *other = NULL;
    unsigned char mem[KEY_SIGNATURE_MAX], der_mem[KEY_PUBLIC_DER_MAX];
    struct buf sig, der;
    struct stat st;

    (void)state;
    check_row("makes a key once, 0600, and finds it again");
    assert_int_equal(key_load(path_of("key"), &k), -ENOENT);
    assert_int_equal(key_load_or_make(path_of("key"), &k), 0);
    assert_int_equal(key_load_or_make(path_of("key"), &loaded), 0);
    assert_int_equal(stat(path_of("key"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    check_row("signs what the public key verifies");
    buf_init_fixed(&sig, mem, sizeof(mem));
    buf_init_fixed(&der, der_mem, sizeof(der_mem));
    assert_int_equal(key_sign(loaded, SPAN("text"), &sig), 0);
    assert_int_equal(key_public_der(k, &der), 0);
    assert_int_equal(key_parse_public_der(buf_span(&der), &public), 0);
    assert_true(key_verify(public, SPAN("text"), buf_span(&sig)));
    check_row("refuses other bytes, another key, a changed or cut signature");
    assert_false(key_verify(public, SPAN("texT"), buf_span(&sig)));
    assert_int_equal(key_generate(&other), 0);
    assert_false(key_verify(other, SPAN("text"), buf_span(&sig)));
    for (size_t i = 0; i < sig.len; i++) {
        mem[i] ^= 1;
        assert_false(key_verify(public, SPAN("text"), buf_span(&sig)));
        mem[i] ^= 1;
    }
    assert_false(key_verify(public, SPAN("text"), span_first(buf_span(&sig), sig.len - 1)));
    assert_false(key_verify(public, SPAN("text"), SPAN_NONE));
    check_row("does not sign with a public key");
    assert_int_equal(key_sign(public, SPAN("text"), &sig), -EINVAL);
    assert_int_equal(key_private_pem(public, &sig), -EINVAL);
    check_row("refuses what is no key");
    assert_int_equal(key_parse_private_pem(SPAN("-----BEGIN NOTHING-----"), &other), -EINVAL);
    assert_int_equal(key_parse_public_der(span_first(buf_span(&der), der.len - 1), &other), -EINVAL);
    unlink(path_of("key"));
}


static void test_foreign_keys(void **state)
{
    static const char p384[] =
        "-----BEGIN PUBLIC KEY-----\n"
        "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEjAISl+G4XiiZMRyiN3QhovMbZNzlL+hy\n"
        "NpckdXhQG3pu3aA1GJFVEjf3ENtlDxHIQ0cBiemNkLoVkUtBuPSeXajcnH+FeqkS\n"
        "jozUoAX6u+hMAz4fPDdS1pVrsXgcfrwu\n"
        "-----END PUBLIC KEY-----\n";
    struct key *k = NULL;

    (void)state;
    check_row("takes P-256 only");
    assert_int_equal(key_parse_public_pem(span_str(p384), &k), -EINVAL);
}

/* "correct horse" */
#define BCRYPT(kind, cost) "$" kind "$" cost "$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e"

static void test_passwords(void **state)
{
    const struct password_cost cheap = { .memory_kib = 64, .passes = 1, .lanes = 1 };
    char phc[PASSWORD_PHC_MAX], again[PASSWORD_PHC_MAX];

    (void)state;
    assert_int_equal(password_hash(SPAN("correct horse"), &cheap, phc), 0);
    assert_int_equal(password_hash(SPAN("correct horse"), &cheap, again), 0);
    assert_string_not_equal(phc, again);
    assert_true(password_verify(SPAN("correct horse"), phc));
    check_row("refuses another password, none, and a malformed or costly string");
    assert_false(password_verify(SPAN("correct horsE"), phc));
    assert_false(password_verify(SPAN(""), phc));
    assert_false(password_verify(SPAN("x"), "$argon2i$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$aGFzaA"));
    assert_false(password_verify(SPAN("x"), "$argon2id$v=19$m=4000000000,t=1,p=1$c2FsdHNhbHQ$aGFzaA"));
    assert_false(password_verify(SPAN("x"), ""));
    assert_int_equal(password_hash(SPAN(""), &cheap, phc), -EINVAL);
    check_row("takes what bcrypt made elsewhere");
    assert_true(password_verify(SPAN("correct horse"), BCRYPT("2a", "04")));
    assert_true(password_verify(SPAN("correct horse"), BCRYPT("2b", "04")));
    assert_true(password_verify(SPAN("correct horse"), BCRYPT("2y", "04")));
    assert_false(password_verify(SPAN("correct horsE"), BCRYPT("2a", "04")));
    assert_false(password_verify(SPAN("correct horse\0"), BCRYPT("2a", "04")));
    assert_true(password_is_weaker(BCRYPT("2a", "04"), &PASSWORD_COST_DEFAULT));
    check_row("and no bcrypt that is malformed or costs too much");
    assert_false(password_is_bcrypt(span_str(BCRYPT("2a", "15"))));
    assert_false(password_is_bcrypt(span_str(BCRYPT("2a", "03"))));
    assert_false(password_is_bcrypt(span_str(BCRYPT("2x", "04"))));
    assert_false(password_is_bcrypt(span_str(BCRYPT("2a", "04") "c")));
    assert_false(password_is_bcrypt(SPAN("$2a$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6:")));
    assert_false(password_is_bcrypt(SPAN("$2a$04$")));
    check_row("knows what is weaker than wanted");
    assert_true(password_is_weaker(again, &PASSWORD_COST_DEFAULT));
    assert_false(password_is_weaker(again, &cheap));
}

static void test_secrets(void **state)
{
    char token[API_TOKEN_LEN + 1], proxy[PROXY_SECRET_LEN + 1], hex[SHA256_HEX], other[SHA256_HEX];

    (void)state;
    api_token_make(token);
    assert_true(api_token_is_well_formed(span_str(token)));
    check_row("sees every mistyped character of a token");
    for (size_t i = 0; i < API_TOKEN_LEN; i++) {
        char was = token[i];

        token[i] = was == 'A' ? 'B' : 'A';
        assert_false(api_token_is_well_formed(span_str(token)));
        token[i] = was;
    }
    assert_false(api_token_is_well_formed(span_first(span_str(token), API_TOKEN_LEN - 1)));
    proxy_secret_make(proxy);
    assert_int_equal(strlen(proxy), PROXY_SECRET_LEN);
    check_row("hashes under the key");
    proxy_secret_hash(SPAN("k1"), span_str(proxy), hex);
    proxy_secret_hash(SPAN("k2"), span_str(proxy), other);
    assert_string_not_equal(hex, other);
}

static void test_seal(void **state)
{
    unsigned char sealed_mem[256], plain_mem[256];
    struct buf sealed, plain;
    struct kek k, again, foreign;

    (void)state;
    assert_int_equal(kek_load(path_of("kek"), &k), -ENOENT);
    assert_int_equal(kek_load_or_make(path_of("kek"), &k), 0);
    assert_int_equal(kek_load_or_make(path_of("kek"), &again), 0);
    assert_memory_equal(k.bytes, again.bytes, KEK_LEN);
    buf_init_fixed(&sealed, sealed_mem, sizeof(sealed_mem));
    buf_init_fixed(&plain, plain_mem, sizeof(plain_mem));
    assert_int_equal(seal(&k, SPAN("ca/agent"), SPAN("the key"), &sealed), 0);
    check_row("opens under its key and label");
    assert_int_equal(unseal(&again, SPAN("ca/agent"), buf_span(&sealed), &plain), 0);
    assert_true(span_eq(buf_span(&plain), SPAN("the key")));
    check_row("refuses another key, another label, any flipped byte");
    random_bytes(&foreign, sizeof(foreign));
    assert_int_equal(unseal(&foreign, SPAN("ca/agent"), buf_span(&sealed), &plain), -EBADMSG);
    assert_int_equal(unseal(&k, SPAN("ca/relay"), buf_span(&sealed), &plain), -EBADMSG);
    for (size_t i = 0; i < sealed.len; i++) {
        sealed_mem[i] ^= 0x80;
        assert_int_equal(unseal(&k, SPAN("ca/agent"), buf_span(&sealed), &plain), -EBADMSG);
        sealed_mem[i] ^= 0x80;
    }
    assert_int_equal(unseal(&k, SPAN("ca/agent"), span_first(buf_span(&sealed), 20), &plain), -EBADMSG);
    assert_true(span_eq(buf_span(&plain), SPAN("the key")));
    unlink(path_of("kek"));
}

static void test_files(void **state)
{
    char mem[8], deep[256];
    struct buf out;

    (void)state;
    buf_init_fixed(&out, mem, sizeof(mem));
    assert_int_equal(file_write_atomic(path_of("f"), SPAN("one"), 0600), 0);
    assert_int_equal(file_write_atomic(path_of("f"), SPAN("four"), 0600), 0);
    assert_int_equal(file_append(path_of("f"), SPAN("5"), 0600), 0);
    assert_int_equal(file_read(path_of("f"), 5, &out), 0);
    assert_true(span_eq(buf_span(&out), SPAN("four5")));
    check_row("refuses what is longer than the limit");
    buf_clear(&out);
    assert_int_equal(file_read(path_of("f"), 4, &out), -EFBIG);
    check_row("leaves nothing behind where it can't write");
    assert_int_equal(file_write_atomic(path_of("no/f"), SPAN("x"), 0600), -ENOENT);
    unlink(path_of("f"));
    check_row("makes all directories of a path, again too");
    snprintf(deep, sizeof(deep), "%s/a/b", dir);
    assert_int_equal(dir_make(deep, 0700), 0);
    assert_int_equal(dir_make(deep, 0700), 0);
    rmdir(deep);
    rmdir(path_of("a"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_digests),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_foreign_keys),
        cmocka_unit_test(test_passwords),
        cmocka_unit_test(test_secrets),
        cmocka_unit_test(test_seal),
        cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
