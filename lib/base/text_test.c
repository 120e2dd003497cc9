/* Hash, ids, encodings, UTF-8: bytes in, text out. */
#include "lib/base/encode.h"
#include "lib/base/hash.h"
#include "lib/base/reason.h"
#include "lib/base/ulid.h"
#include "lib/base/utf8.h"
#include "lib/check/check.h"

/* Vectors of SipHash-1-3 as OpenSSL makes them: key 00…0f, input 00, 00 01, … */
static void test_siphash(void **state)
{
    static const struct { size_t n; uint64_t want; } rows[] = {
        { 0, 0xabac0158050fc4dc }, { 1, 0xc9f49bf37d57ca93 }, { 7, 0xd3927d989bb11140 },
        { 8, 0x369095118d299a8e }, { 15, 0xd320d86d2a519956 }, { 63, 0x9d199062b7bbb3a8 },
    };
    unsigned char key[16], input[64];

    (void)state;
    for (size_t i = 0; i < sizeof(input); i++)
        input[i] = (unsigned char)i;
    memcpy(key, input, sizeof(key));
    hash_seed(key);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_true(hash_bytes(span_of(input, rows[i].n)) == rows[i].want);
    assert_true(hash_u64(0x0706050403020100) == 0x369095118d299a8e);
}

static void test_ulid(void **state)
{
    static const struct { const char *it, *text; bool is_good; } rows[] = {
        { "refuses 25 characters", "01ARZ3NDEKTSV4RRFFQ69G5FA", false },
        { "refuses 27 characters", "01ARZ3NDEKTSV4RRFFQ69G5FAVV", false },
        { "refuses lower case", "01arz3ndektsv4rrffq69g5fav", false },
        { "refuses I, L, O, U", "01ARZ3NDEKTSV4RRFFQ69G5FAU", false },
        { "refuses what is past 128 bits", "81ARZ3NDEKTSV4RRFFQ69G5FAV", false },
        { "takes an id", "01ARZ3NDEKTSV4RRFFQ69G5FAV", true },
        { "takes the largest", "7ZZZZZZZZZZZZZZZZZZZZZZZZZ", true },
    };
    static const unsigned char random[10] = { 0xd6, 0x76, 0x4c, 0x61, 0xef,
                                              0xb9, 0x93, 0x02, 0xbd, 0x5b };
    struct ulid id;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check_row(rows[i].it);
        assert_int_equal(ulid_parse(span_str(rows[i].text), &id), rows[i].is_good);
    }
    check_row("refuses a NUL");
    assert_false(ulid_parse(SPAN("01ARZ3NDEKTSV4RRFFQ69G5FA\0"), &id));
    check_row("makes what the specification shows");
    id = ulid_make(1469922850259, random);
    assert_string_equal(id.text, "01ARZ3NDEKTSV4RRFFQ69G5FAV");
    assert_true(ulid_unix_ms(&id) == 1469922850259);
}

struct codec {
    void (*encode)(struct span bytes, struct buf *out);
    bool (*decode)(struct span text, struct buf *out);
};

static void test_encodings(void **state)
{
    static const struct codec hex = { hex_encode, hex_decode },
                              b64 = { base64_encode, base64_decode },
                              url = { base64url_encode, base64url_decode };
    static const struct {
        const char *it;
        const struct codec *codec;
        struct span text, bytes;
        bool is_good;
    } rows[] = {
        { "refuses odd hex", &hex, { "abc", 3 }, { 0 }, false },
        { "refuses other letters in hex", &hex, { "0g", 2 }, { 0 }, false },
        { "codes hex", &hex, { "00ff1a", 6 }, { "\x00\xff\x1a", 3 }, true },
        { "codes nothing", &b64, { "", 0 }, { "", 0 }, true },
        { "codes one byte", &b64, { "Zg==", 4 }, { "f", 1 }, true },
        { "codes two bytes", &b64, { "Zm8=", 4 }, { "fo", 2 }, true },
        { "codes three bytes", &b64, { "Zm9v", 4 }, { "foo", 3 }, true },
        { "codes six bytes", &b64, { "Zm9vYmFy", 8 }, { "foobar", 6 }, true },
        { "refuses missing padding", &b64, { "Zg", 2 }, { 0 }, false },
        { "refuses too much padding", &b64, { "Z===", 4 }, { 0 }, false },
        { "refuses padding alone", &b64, { "====", 4 }, { 0 }, false },
        { "refuses padding in the middle", &b64, { "Zg==Zg==", 8 }, { 0 }, false },
        { "refuses spare bits in one byte", &b64, { "Zh==", 4 }, { 0 }, false },
        { "refuses spare bits in two bytes", &b64, { "Zm9=", 4 }, { 0 }, false },
        { "refuses white space", &b64, { "Zm9\n", 4 }, { 0 }, false },
        { "refuses the url alphabet", &b64, { "-_-_", 4 }, { 0 }, false },
        { "codes url", &url, { "-_8", 3 }, { "\xfb\xff", 2 }, true },
        { "refuses padding in url", &url, { "Zg==", 4 }, { 0 }, false },
        { "refuses one letter of url", &url, { "Z", 1 }, { 0 }, false },
        { "refuses the plain alphabet in url", &url, { "+/", 2 }, { 0 }, false },
        { "refuses spare bits in url", &url, { "Zh", 2 }, { 0 }, false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char mem[32];
        struct buf out;

        check_row(rows[i].it);
        buf_init_fixed(&out, mem, sizeof(mem));
        assert_int_equal(rows[i].codec->decode(rows[i].text, &out), rows[i].is_good);
        if (!rows[i].is_good)
            continue;
        assert_true(span_eq(buf_span(&out), rows[i].bytes));
        buf_clear(&out);
        rows[i].codec->encode(rows[i].bytes, &out);
        assert_true(span_eq(buf_span(&out), rows[i].text));
    }
}

static void test_utf8(void **state)
{
    static const struct { const char *it; struct span text; bool is_good; } rows[] = {
        { "takes nothing", { "", 0 }, true },
        { "takes all lengths", { "a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 10 }, true },
        { "refuses a lone continuation", { "\x80", 1 }, false },
        { "refuses an overlong slash", { "\xc0\xaf", 2 }, false },
        { "refuses an overlong form of three", { "\xe0\x80\xaf", 3 }, false },
        { "refuses a surrogate", { "\xed\xa0\x80", 3 }, false },
        { "refuses what is past U+10FFFF", { "\xf4\x90\x80\x80", 4 }, false },
        { "refuses a cut character", { "\xe2\x82", 2 }, false },
        { "refuses a broken third byte", { "\xe2\x82\x28", 3 }, false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check_row(rows[i].it);
        assert_int_equal(utf8_is_valid(rows[i].text), rows[i].is_good);
    }
}

static void test_reasons(void **state)
{
    (void)state;
    for (enum reason r = REASON_NONE; r < REASON_COUNT; r++) {
        check_row(reason_text(r));
        assert_int_equal(reason_find(span_str(reason_text(r))), r);
        assert_true(reason_http_status(r) >= 200 && reason_http_status(r) < 600);
        assert_true(reason_socks_reply(r) <= 8);
        assert_true(*reason_what(r) && *reason_cure(r));
    }
    assert_int_equal(reason_find(SPAN("no such reason")), REASON_COUNT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_siphash),   cmocka_unit_test(test_ulid),
        cmocka_unit_test(test_encodings), cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_reasons),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
