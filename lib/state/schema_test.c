#include "lib/base/buf.h"
#include "lib/check/check.h"
#include "lib/crypto/file.h"
#include "lib/state/feature.h"
#include "lib/state/record_codec.h"
#include <stdio.h>

/* schema/state.md and the code's tables name the same kinds and fields. */

static struct buf text;

static int set_up(void **state)
{
    (void)state;
    buf_init_heap(&text, 1 << 20);
    return file_read("schema/state.md", 1 << 20, &text);
}

static int tear_down(void **state)
{
    (void)state;
    buf_deinit(&text);
    return 0;
}

/* The part of the page from "### kind" to the next heading. */
static struct span section(const char *kind)
{
    struct span records = buf_span(&text), found;
    const char *begin, *end;
    char heading[64];

    begin = memmem(records.p, records.n, "## Record lines", 15);
    assert_non_null(begin);
    records = span_skip(records, (size_t)(begin - records.p));
    snprintf(heading, sizeof(heading), "\n### %s\n", kind);
    begin = memmem(records.p, records.n, heading, strlen(heading));
    if (!begin)
        fail_msg("no section of %s", kind);
    found = span_skip(records, (size_t)(begin - records.p) + strlen(heading));
    end = memmem(found.p, found.n, "\n#", 2);
    return end ? span_first(found, (size_t)(end - found.p)) : found;
}

static size_t rows_of(struct span part)
{
    struct span line;
    size_t rows = 0;

    while (part.n && span_cut(&part, '\n', &line)) {
        struct span cell = line;

        /* "| `a`, `b` | ..." is two fields */
        if (!span_starts(line, SPAN("| `")))
            continue;
        cell = span_first(line, (size_t)((const char *)memmem(line.p, line.n, " | ", 3) - line.p));
        for (size_t i = 0; i < cell.n; i++)
            rows += cell.p[i] == '`';
    }
    return rows / 2;
}

static void test_fields(void **state)
{
    (void)state;
    for (enum record_kind kind = 0; kind < RECORD_KIND_COUNT; kind++) {
        struct span part = section(record_kind_name(kind));
        const char *key;
        bool is_required;
        size_t i;

        for (i = 0; record_field_at(kind, i, &key, &is_required); i++) {
            char quoted[64], row[128];

            snprintf(row, sizeof(row), "has the field %s of %s", key, record_kind_name(kind));
            check_row(row);
            snprintf(quoted, sizeof(quoted), "`%s`", key);
            assert_non_null(memmem(part.p, part.n, quoted, strlen(quoted)));
        }
        check_row(record_kind_name(kind));
        assert_int_equal(rows_of(part), i);
    }
}

/* "## Versions" has a row for each feature. */
static void test_features(void **state)
{
    const char *begin = memmem(text.data, text.len, "\n## Versions\n", 13), *end;
    struct span part;

    (void)state;
    assert_non_null(begin);
    part = span_skip(buf_span(&text), (size_t)(begin + 13 - (const char *)text.data));
    end = memmem(part.p, part.n, "\n## ", 4);
    part = end ? span_first(part, (size_t)(end - part.p)) : part;
    for (enum state_feature i = 0; i < STATE_FEATURE_COUNT; i++) {
        char quoted[64];

        check_row(state_feature_name(i));
        snprintf(quoted, sizeof(quoted), "| `%s` |", state_feature_name(i));
        assert_non_null(memmem(part.p, part.n, quoted, strlen(quoted)));
    }
    assert_int_equal(rows_of(part), STATE_FEATURE_COUNT);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_fields), cmocka_unit_test(test_features) };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
