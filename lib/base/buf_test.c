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
        cmocka_unit_test(test_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
