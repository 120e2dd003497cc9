#include "lib/base/buf.h"
#include "lib/check/check.h"

static void test_fixed(void **state)
{
    unsigned char mem[4];
    struct buf b;

    (void)state;
    buf_init_fixed(&b, mem, sizeof(mem));
    buf_put_u32(&b, 0x01020304);
    assert_int_equal(buf_error(&b), 0);
    buf_put_u8(&b, 5);
    assert_int_equal(buf_error(&b), -ENOBUFS);
    assert_int_equal(b.len, 4);
}

static void test_text(void **state)
{
    static const struct {
        const char *it;
        int64_t number;
        const char *want;
    } rows[] = {
        { "writes 0", 0, "0" },
        { "writes a digit", 7, "7" },
        { "writes a number below 0", -120, "-120" },
        { "writes the greatest", INT64_MAX, "9223372036854775807" },
        { "writes the smallest", INT64_MIN, "-9223372036854775808" },
    };
    char mem[32];
    struct buf b;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check_row(rows[i].it);
        buf_init_fixed(&b, mem, sizeof(mem));
        buf_put_decimal(&b, rows[i].number);
        assert_string_equal(buf_text(&b), rows[i].want);
    }
    check_row("prints where there is room, and where it has to grow");
    buf_init_heap(&b, 4096);
    for (int i = 0; i < 100; i++)
        buf_printf(&b, "%03d,", i);
    assert_int_equal(b.len, 400);
    assert_string_equal(buf_text(&b) + 388, "097,098,099,");
    buf_deinit(&b);
    check_row("refuses to print what has no room, and keeps what was there");
    buf_init_fixed(&b, mem, 8);
    buf_printf(&b, "%s", "abc");
    buf_printf(&b, "%s", "12345678");
    assert_int_equal(buf_error(&b), -ENOBUFS);
    assert_true(span_eq(buf_span(&b), SPAN("abc")));
}

static void test_reader(void **state)
{
    struct reader r;

    (void)state;
    reader_init(&r, SPAN("\x01\x02\x03"));
    assert_int_equal(read_u16(&r), 0x0102);
    assert_int_equal(read_u16(&r), 0);
    assert_int_equal(r.error, -EBADMSG);
    assert_int_equal(read_u8(&r), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fixed),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
