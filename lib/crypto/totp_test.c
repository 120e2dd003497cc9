#include "lib/check/check.h"
#include "lib/crypto/totp.h"
#include <string.h>

static const unsigned char *const secret = (const unsigned char *)"12345678901234567890";

/* RFC 6238, appendix B; its eight digits end with our six. */
static void test_vectors(void **state)
{
    static const struct {
        const char *it;
        int64_t time_s;
        const char *code;
    } rows[] = {
        { "tells 59 s", 59, "287082" },
        { "tells 2005", 1111111109, "081804" },
        { "tells a second later", 1111111111, "050471" },
        { "tells 2009", 1234567890, "005924" },
        { "tells 2033", 2000000000, "279037" },
        { "tells 2603", 20000000000, "353130" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char code[TOTP_DIGITS + 1];

        check_row(rows[i].it);
        totp_code(secret, (uint64_t)rows[i].time_s / TOTP_STEP_S, code);
        assert_string_equal(code, rows[i].code);
    }
    check_row(NULL);
}

static void test_find(void **state)
{
    static const struct {
        const char *it, *code;
        int64_t now_s;
        uint64_t step;
    } rows[] = {
        { "takes the present code", "287082", 59, 1 },
        { "takes it a step late", "287082", 89, 1 },
        { "takes one a step early", "081804", 1111111079, 37037036 },
        { "refuses it two steps late", "287082", 90, 0 },
        { "refuses another", "287083", 59, 0 },
        { "refuses a part", "28708", 59, 0 },
        { "refuses more", "2870820", 59, 0 },
        { "refuses nothing", "", 59, 0 },
        { "bears a clock at zero", "287082", 0, 1 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check_row(rows[i].it);
        assert_int_equal(totp_find(secret, span_str(rows[i].code), rows[i].now_s), rows[i].step);
    }
    check_row(NULL);
}

static void test_base32(void **state)
{
    static const struct {
        const char *it, *bytes, *text;
    } rows[] = {
        { "writes nothing", "", "" },       { "writes one byte", "f", "MY" },
        { "writes two", "fo", "MZXQ" },     { "writes three", "foo", "MZXW6" },
        { "writes four", "foob", "MZXW6YQ" }, { "writes five", "fooba", "MZXW6YTB" },
        { "writes a secret", "12345678901234567890", "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[TOTP_TEXT_LEN + 1];

        check_row(rows[i].it);
        totp_base32((const unsigned char *)rows[i].bytes, strlen(rows[i].bytes), text, sizeof(text));
        assert_string_equal(text, rows[i].text);
    }
    check_row(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors), cmocka_unit_test(test_find), cmocka_unit_test(test_base32),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
