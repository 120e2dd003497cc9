#include "controlplane/store/store_internal.h"
#include "lib/base/encode.h"
#include "lib/crypto/digest.h"
#include "lib/json/json.h"

#include <stdio.h>
#include <string.h>

#define FORMAT "adit-backup/1"
#define LINE_MAX_BYTES (64u << 20)

struct head {
    int64_t schema, epoch, revision, trimmed, at_ms;
};

struct load {
    FILE *in;
    struct store_tx *tx;
    struct buf *reterr;
    char *line;                 /* getline()'s */
    size_t line_room;
    uint64_t number, rows;
    struct head head;
    struct stmt *insert;        /* into the table of the rows that follow; NULL: none yet */
    int columns;
};

static void load_deinit(struct load *l)
{
    stmt_freep(&l->insert);
    free(l->line);
}

static int bad(struct load *l, const char *why)
{
    buf_clear(l->reterr);
    buf_printf(l->reterr, "the backup is damaged in line %llu: %s", (unsigned long long)l->number, why);
    return -EBADMSG;
}

/* 1: a line; 0: the end. */
static int next_line(struct load *l, struct span *ret_line)
{
    ssize_t n = getline(&l->line, &l->line_room, l->in);

    if (n < 0)
        return ferror(l->in) ? -EIO : 0;
    l->number++;
    if ((size_t)n > LINE_MAX_BYTES || l->line[n - 1] != '\n')
        return bad(l, "it has no end");
    *ret_line = span_of(l->line, (size_t)n - 1);
    return 1;
}

/* ---- the first pass: is it whole ---- */

static int check_tail(struct load *l, struct span line, uint64_t rows, const unsigned char digest[SHA256_LEN])
{
    AUTO(json_value_freep) struct json_value *tail = NULL;
    AUTO(buf_deinit) struct buf hex;
    struct json_error error;
    struct span text;
    int64_t told;

    buf_init_heap(&hex, SHA256_HEX);
    hex_encode(span_of(digest, SHA256_LEN), &hex);
    if (json_parse(line, &tail, &error) || !json_get_str(tail, "sha256", &text) || !json_get_int(tail, "rows", &told))
        return bad(l, "the end is missing");
    if (!span_eq(text, buf_span(&hex)) || told != (int64_t)rows)
        return bad(l, "the digest is another");
    return 0;
}

static bool is_tail(struct span line)
{
    return span_starts(line, SPAN("{\"rows\":"));
}

static int check_whole(struct load *l)
{
    AUTO(sha256_run_freep) struct sha256_run *run = sha256_run_new();
    unsigned char digest[SHA256_LEN];
    struct span line;
    uint64_t rows = 0;
    int r;

    while ((r = next_line(l, &line)) == 1 && !is_tail(line)) {
        sha256_run_add(run, span_of(line.p, line.n + 1));
        rows += line.n && line.p[0] == '[';
    }
    if (r < 0)
        return r;
    if (!r)
        return bad(l, "the end is missing");
    sha256_run_end(run, digest);
    r = check_tail(l, line, rows, digest);
    rewind(l->in);
    l->number = 0;
    return r;
}

/* ---- the second: into the tables ---- */

static int read_head(struct load *l)
{
    static const struct json_field fields[] = {
        { "schema", J_INT, offsetof(struct head, schema), 0, 1, INT32_MAX, JSON_REQUIRED },
        { "epoch", J_INT, offsetof(struct head, epoch), 0, 1, INT64_MAX / 2, JSON_REQUIRED },
        { "revision", J_INT, offsetof(struct head, revision), 0, 0, INT64_MAX / 2, JSON_REQUIRED },
        { "trimmed", J_INT, offsetof(struct head, trimmed), 0, 0, INT64_MAX / 2, JSON_REQUIRED },
        { "at_ms", J_INT, offsetof(struct head, at_ms), 0, 0, INT64_MAX / 2, JSON_REQUIRED },
    };
    AUTO(json_value_freep) struct json_value *head = NULL;
    struct json_error error;
    struct span line, format;
    int r = next_line(l, &line);

    if (r != 1)
        return r ? r : bad(l, "it is empty");
    if (json_parse(line, &head, &error) || !json_get_str(head, "format", &format) ||
        !span_eq(format, SPAN(FORMAT)) ||
        json_decode(head, fields, ARRAY_LEN(fields), JSON_ALLOW_UNKNOWN, &l->head, &error))
        return bad(l, "this is no backup of adit-controlplane");
    if (l->head.schema > migrations_newest(l->tx->conn->db->driver)) {
        buf_printf(l->reterr, "the backup is of version %lld of the database: install a newer adit-controlplane",
                   (long long)l->head.schema);
        return STORE_E_NEWER;
    }
    return 0;
}

/* A newer program may know more columns; what the file names must be some of them. */
static bool are_known(struct span table, struct span columns, int *ret_count)
{
    struct span known = SPAN_NONE, rest = columns, one;
    const char *name, *all;

    for (size_t i = 0; (all = backup_columns(i, &name)); i++)
        if (span_eq(table, span_str(name)))
            known = span_str(all);
    for (*ret_count = 0; span_cut(&rest, ',', &one); ++*ret_count) {
        struct span others = known, column;
        bool is_known = false;

        while (span_cut(&others, ',', &column))
            is_known |= span_eq(one, column);
        if (!is_known)
            return false;
    }
    return *ret_count > 0;
}

static int begin_table(struct load *l, struct span line)
{
    AUTO(json_value_freep) struct json_value *v = NULL;
    AUTO(buf_deinit) struct buf sql;
    const struct driver *driver = l->tx->conn->db->driver;
    struct json_error error;
    struct span table, columns;

    buf_init_heap(&sql, 4096);
    if (json_parse(line, &v, &error) || !json_get_str(v, "table", &table) ||
        !json_get_str(v, "columns", &columns) || !are_known(table, columns, &l->columns))
        return bad(l, "an unknown table or column");
    buf_printf(&sql, "INSERT INTO " SPAN_FMT " (" SPAN_FMT ") VALUES (", SPAN_ARG(table), SPAN_ARG(columns));
    for (int i = 1; i <= l->columns; i++)
        buf_printf(&sql, "%s?%d", i > 1 ? ", " : "", i);
    buf_put_str(&sql, ")");
    if (buf_error(&sql))
        return bad(l, "an unknown table or column");
    stmt_freep(&l->insert);
    l->insert = NULL;
    return driver->prepare(l->tx->conn->db, NULL, buf_span(&sql), false, &l->insert);
}

/* `mem` keeps a blob until the row is in. */
static bool value_of(const struct json_value *v, struct buf *mem, struct value *ret_value)
{
    struct span text;

    *ret_value = (struct value){ .type = VALUE_NULL };
    switch (json_kind_of(v)) {
    case JSON_IS_NULL:
        return true;
    case JSON_IS_INT:
        ret_value->type = VALUE_INT;
        return json_as_int(v, &ret_value->number);
    case JSON_IS_STR:
        ret_value->type = VALUE_TEXT;
        return json_as_str(v, &ret_value->text);
    case JSON_IS_OBJECT:
        ret_value->type = VALUE_BLOB;
        buf_init_heap(mem, LINE_MAX_BYTES);
        if (!json_get_str(v, "b64", &text) || !base64_decode(text, mem) || buf_error(mem))
            return false;
        ret_value->text = buf_span(mem);
        return true;
    case JSON_IS_BOOL:
    case JSON_IS_REAL:
    case JSON_IS_ARRAY:
        break;
    }
    return false;
}

#define BLOBS_MAX 16            /* columns of a row */

static int insert_row(struct load *l, const struct json_value *row, struct buf mems[BLOBS_MAX])
{
    const struct driver *driver = l->tx->conn->db->driver;
    struct value value;
    int r;

    if (!l->insert || l->columns > BLOBS_MAX || json_count(row) != (size_t)l->columns)
        return bad(l, "a row of another table");
    driver->reset(l->insert);
    for (int i = 0; i < l->columns; i++) {
        if (!value_of(json_at(row, (size_t)i), &mems[i], &value))
            return bad(l, "a value of another type");
        driver->bind(l->insert, i + 1, &value);
    }
    r = driver->step(l->insert);
    if (r == DB_ROW || r > 0 || r == -EINVAL)
        return bad(l, "the database does not take the row");
    l->rows++;
    return r;
}

static int load_row(struct load *l, struct span line)
{
    AUTO(json_value_freep) struct json_value *row = NULL;
    struct buf mems[BLOBS_MAX] = { 0 };
    struct json_error error;
    int r;

    if (json_parse(line, &row, &error))
        return bad(l, "no JSON");
    r = insert_row(l, row, mems);
    for (int i = 0; i < BLOBS_MAX; i++)
        buf_deinit(&mems[i]);
    return r;
}

static int load_tables(struct load *l)
{
    struct span line;
    int r;

    while ((r = next_line(l, &line)) == 1 && !is_tail(line)) {
        r = line.n && line.p[0] == '[' ? load_row(l, line) : begin_table(l, line);
        if (r)
            return r;
    }
    return r < 0 ? r : 0;
}

static int check_empty(struct load *l)
{
    AUTO(buf_deinit) struct buf found;
    int r;

    buf_init_heap(&found, 4096);
    r = db_ask(l->tx->conn->db, "SELECT 1 FROM (SELECT id FROM objects UNION ALL SELECT id FROM audit_events"
               " UNION ALL SELECT purpose FROM keys) AS kept LIMIT 1", &found);
    if (r || !found.len)
        return r;
    buf_printf(l->reterr, "the database has data in it: restore into an empty one");
    return STORE_E_EXISTS;
}

/* An epoch that no relay has seen: a restore from the same backup, later, gets a greater one. */
static int take_position(struct load *l, struct store_position *ret_position)
{
    int64_t age_s = ((int64_t)store_now_ms(l->tx->store) - l->head.at_ms) / 1000;
    int64_t epoch = l->head.epoch + 1 + (age_s > 0 ? age_s : 0);
    int r;

    if (epoch < epoch_by_clock(l->tx->store))
        epoch = epoch_by_clock(l->tx->store);
    r = db_done(l->tx, db_bind(l->tx, Q_position_restore, "iii", epoch, l->head.revision + 1, l->head.trimmed), NULL);
    return r ? r : store_position(l->tx, ret_position);
}

static int audit_restore(struct load *l)
{
    struct store_audit event = { .actor_kind = "system", .action = "store.restore", .outcome = "ok" };

    return store_audit_append(l->tx, &event, NULL);
}

int store_restore(struct store_tx *tx, FILE *in, struct store_backup *ret_backup, struct buf *reterr)
{
    AUTO(load_deinit) struct load l = { .in = in, .tx = tx, .reterr = reterr };
    int r;

    r = check_whole(&l);
    if (!r)
        r = check_empty(&l);
    if (!r)
        r = read_head(&l);
    if (!r)
        r = load_tables(&l);
    if (!r)
        r = take_position(&l, &ret_backup->position);
    if (!r)
        r = audit_restore(&l);
    ret_backup->rows = l.rows;
    return r;
}
