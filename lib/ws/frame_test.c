#include "lib/check/check.h"
#include "lib/ws/ws.h"

static const unsigned char mask[4] = { 0x37, 0xfa, 0x21, 0x3d };

static void test_headers(void **state)
{
    static const struct {
        const char *it;
        uint64_t payload;
        bool fin;
        const char *want;
        size_t n;
    } rows[] = {
        { "writes an empty one", 0, true, "\x82\x80\x37\xfa\x21\x3d", 6 },
        { "writes the longest short one", 125, true, "\x82\xfd\x37\xfa\x21\x3d", 6 },
        { "writes a fragment", 1, false, "\x02\x81\x37\xfa\x21\x3d", 6 },
        { "writes the shortest of 16 bits", 126, true, "\x82\xfe\x00\x7e\x37\xfa\x21\x3d", 8 },
        { "writes the longest of 16 bits", 65535, true, "\x82\xfe\xff\xff\x37\xfa\x21\x3d", 8 },
        { "writes the shortest of 64 bits", 65536, true,
          "\x82\xff\x00\x00\x00\x00\x00\x01\x00\x00\x37\xfa\x21\x3d", 14 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        unsigned char header[WS_HEADER_MAX];

        check_row(rows[i].it);
        assert_int_equal(ws_header_write(header, WS_BINARY, rows[i].fin, rows[i].payload, mask),
                         rows[i].n);
        assert_memory_equal(header, rows[i].want, rows[i].n);
        check_row("writes a server's: no mask, and it says so");
        assert_int_equal(ws_header_write(header, WS_BINARY, rows[i].fin, rows[i].payload, NULL),
                         rows[i].n - 4);
        assert_int_equal(header[1], (unsigned char)rows[i].want[1] & 0x7f);
        assert_memory_equal(header + 2, rows[i].want + 2, rows[i].n - 6);
    }
}

/* RFC 6455 section 5.7. */
static void test_masked_hello(void **state)
{
    unsigned char dst[5];

    (void)state;
    ws_mask_copy(dst, "Hello", 5, mask, 0);
    assert_memory_equal(dst, "\x7f\x9f\x4d\x51\x58", 5);
}

/* Every length around a block, every offset, and alignments, against one byte at a time. */
static void test_mask_is_bytewise(void **state)
{
    unsigned char src[300], dst[300];

    (void)state;
    for (size_t i = 0; i < sizeof(src); i++)
        src[i] = (unsigned char)(i * 7);
    for (size_t n = 0; n <= 200; n++) {
        for (size_t shift = 0; shift < 9; shift++) {
            memset(dst, 0xee, sizeof(dst));
            ws_mask_copy(dst + shift, src + shift * 2, n, mask, shift);
            for (size_t i = 0; i < n; i++)
                assert_int_equal(dst[shift + i], src[shift * 2 + i] ^ mask[(shift + i) % 4]);
            assert_int_equal(dst[shift + n], 0xee);
        }
    }
}

static void test_mask_in_place_and_in_parts(void **state)
{
    unsigned char whole[150], parts[150];

    (void)state;
    for (size_t i = 0; i < sizeof(whole); i++)
        whole[i] = parts[i] = (unsigned char)i;
    ws_mask_copy(whole, whole, sizeof(whole), mask, 0);
    ws_mask_copy(parts, parts, 67, mask, 0);
    ws_mask_copy(parts + 67, parts + 67, sizeof(parts) - 67, mask, 67);
    assert_memory_equal(whole, parts, sizeof(whole));
    ws_mask_copy(whole, whole, sizeof(whole), mask, 0);
    for (size_t i = 0; i < sizeof(whole); i++)
        assert_int_equal(whole[i], i);
}

static void test_close(void **state)
{
    static const unsigned char no_mask[4];
    static const struct { const char *it; uint16_t code; const char *reason, *want; size_t n; }
    rows[] = {
        { "writes code and reason", 1000, "bye", "\x88\x85\0\0\0\0\x03\xe8" "bye", 11 },
        { "writes a code alone", 1001, "", "\x88\x82\0\0\0\0\x03\xe9", 8 },
        { "writes nothing", WS_CLOSE_NONE, "x", "\x88\x80\0\0\0\0", 6 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        unsigned char dst[WS_CONTROL_FRAME_MAX];

        check_row(rows[i].it);
        assert_int_equal(ws_close_write(dst, rows[i].code, span_str(rows[i].reason), no_mask),
                         rows[i].n);
        assert_memory_equal(dst, rows[i].want, rows[i].n);
        assert_int_equal(ws_close_write(dst, rows[i].code, span_str(rows[i].reason), NULL), rows[i].n - 4);
        assert_int_equal(dst[1], rows[i].n - 6);
        assert_memory_equal(dst + 2, rows[i].want + 6, rows[i].n - 6);
    }
}

static void test_long_reason_is_cut_between_characters(void **state)
{
    static const unsigned char no_mask[4];
    unsigned char dst[WS_CONTROL_FRAME_MAX];
    char reason[200];

    (void)state;
    for (size_t i = 0; i < sizeof(reason); i += 2)
        memcpy(reason + i, "\xc3\xbc", 2);
    assert_int_equal(ws_close_write(dst, 1000, span_of(reason, sizeof(reason)), no_mask),
                     6 + 2 + 122);
    assert_int_equal(ws_control_write(dst, WS_PING, span_of(reason, sizeof(reason)), no_mask),
                     WS_CONTROL_FRAME_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_masked_hello),
        cmocka_unit_test(test_mask_is_bytewise),
        cmocka_unit_test(test_mask_in_place_and_in_parts),
        cmocka_unit_test(test_close),
        cmocka_unit_test(test_long_reason_is_cut_between_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
