#include "controlplane/store/store_internal.h"
#include "lib/base/encode.h"
#include "lib/crypto/digest.h"
#include "lib/json/json.h"

#include <stdio.h>
#include <string.h>

/*
 * The form of a backup, the same for every database: lines of JSON.  First {"format", "schema",
 * "epoch", "revision", "trimmed", "at_ms"}; for each table {"table", "columns"} and its rows as
 * arrays (a blob is {"b64"}); at the end {"rows", "sha256"}, the digest of all lines before.
 */
#define FORMAT "adit-backup/1"
#define PAGE_ROWS 200
#define LINE_MAX_BYTES (64u << 20)
#define KEY_COLUMNS_MAX 4
#define COLUMNS_MAX 16

/* In the order that references allow.  Every table of the migrations but position, which the
 * head has, and schema_migrations, which is the database's own; a test compares. */
static const struct table {
    const char *name, *columns;         /* the key's come first */
    int key_columns;
} tables[] = {
    { "meta", "key,value", 1 },
    { "objects", "id,kind,name,version,created_at,updated_at,created_by,managed_by,doc", 1 },
    { "refs", "from_id,field,to_id", 3 },
    { "members", "relation,group_id,member_id,doc,added_at", 3 },
    { "secrets", "object_id,purpose,value,fingerprint,set_at", 2 },
    { "audit_events", "writer,seq,id,at,doc,prev_hash,hash", 2 },
    { "audit_checkpoints", "number,at,doc,signature", 1 },
    { "state_records", "kind,id,json", 2 },
    { "state_changes", "revision,kind,id,json", 3 },
    { "publications", "epoch,revision,after,digest,document,at", 2 },
    { "records", "source,id,at,doc", 2 },
    { "reports", "topic,subject,at,doc", 2 },
    { "answers", "principal,key,operation,body_hash,status,location,etag,body,at", 3 },
    { "penalties", "key,failures,until", 1 },
    { "keys", "purpose,number,status,public_part,sealed,created_at", 2 },
    { "join_uses", "token_id,csr_hash,at,answer", 3 },
    { "certificates", "fingerprint,subject,kind,generation,key_hash,not_after,issued_at", 1 },
    { "events", "number,at,topic,kind,object,owner,doc", 1 },
    { "statistics", "width,dimension,at,key,opened,refused,broken,bytes_out,bytes_in,weight,error,last_at", 4 },
};

const char *backup_columns(size_t i, const char **ret_table)
{
    if (i >= ARRAY_LEN(tables))
        return NULL;
    *ret_table = tables[i].name;
    return tables[i].columns;
}

/* ---- out ---- */

struct dump {
    FILE *out;
    struct store_tx *tx;
    struct sha256_run *digest;
    uint64_t rows;
    struct buf line, key_mem;
    struct value key[KEY_COLUMNS_MAX];  /* of the last row; texts in key_mem */
};

static void dump_deinit(struct dump *d)
{
    sha256_run_freep(&d->digest);
    buf_deinit(&d->line);
    buf_deinit(&d->key_mem);
}

static int line_out(struct dump *d)
{
    buf_put_u8(&d->line, '\n');
    if (buf_error(&d->line))
        return buf_error(&d->line);
    sha256_run_add(d->digest, buf_span(&d->line));
    if (fwrite(d->line.data, 1, d->line.len, d->out) != d->line.len)
        return errno ? -errno : -EIO;
    buf_clear(&d->line);
    return 0;
}

static void put_blob(struct json_writer *w, struct span bytes, struct buf *mem)
{
    buf_clear(mem);
    base64_encode(bytes, mem);
    json_open_object(w, NULL);
    json_put_str(w, "b64", buf_span(mem));
    json_close_object(w);
}

static void put_value(struct json_writer *w, const struct value *v, struct buf *mem)
{
    if (v->type == VALUE_NULL)
        json_put_null(w, NULL);
    else if (v->type == VALUE_INT)
        json_put_int(w, NULL, v->number);
    else if (v->type == VALUE_BLOB)
        put_blob(w, v->text, mem);
    else
        json_put_str(w, NULL, v->text.p ? v->text : SPAN(""));
}

static int columns_of(const char *columns)
{
    int n = 1;

    for (; *columns; columns++)
        n += *columns == ',';
    return n;
}

/* "a,b" of "a,b,c". */
static struct span key_of(const struct table *t)
{
    struct span rest = span_str(t->columns), part;

    for (int i = 0; i < t->key_columns; i++)
        (void)span_cut(&rest, ',', &part);
    return span_of(t->columns, (size_t)(part.p + part.n - t->columns));
}

static void page_sql(const struct table *t, bool is_first, struct buf *sql)
{
    struct span key = key_of(t);

    buf_printf(sql, "SELECT %s FROM %s", t->columns, t->name);
    if (!is_first) {
        buf_printf(sql, " WHERE (" SPAN_FMT ") > (", SPAN_ARG(key));
        for (int i = 0; i < t->key_columns; i++)
            buf_printf(sql, "%s?%d", i ? ", " : "", i + 1);
        buf_put_str(sql, ")");
    }
    buf_printf(sql, " ORDER BY " SPAN_FMT " LIMIT %d", SPAN_ARG(key), PAGE_ROWS);
}

/* What the next page goes on behind. */
static int keep_key(struct dump *d, const struct table *t, struct stmt *row)
{
    size_t starts[KEY_COLUMNS_MAX];

    buf_clear(&d->key_mem);
    for (int i = 0; i < t->key_columns; i++) {
        d->key[i] = row->db->driver->column(row, i);
        starts[i] = d->key_mem.len;
        buf_put_span(&d->key_mem, d->key[i].text);
    }
    for (int i = 0; i < t->key_columns && !buf_error(&d->key_mem); i++)
        d->key[i].text.p = (const char *)d->key_mem.data + starts[i];
    return buf_error(&d->key_mem);
}

static int dump_row(struct dump *d, const struct table *t, struct stmt *row, struct buf *mem)
{
    struct json_writer w;

    json_begin(&w, &d->line);
    json_open_array(&w, NULL);
    for (int i = 0; i < columns_of(t->columns); i++) {
        struct value v = row->db->driver->column(row, i);

        put_value(&w, &v, mem);
    }
    json_close_array(&w);
    d->rows++;
    return line_out(d);
}

/* How many rows it had comes back. */
static int dump_page(struct dump *d, const struct table *t, bool is_first, int *ret_rows)
{
    AUTO(stmt_freep) struct stmt *row = NULL;
    AUTO(buf_deinit) struct buf sql, mem;
    const struct driver *driver = d->tx->conn->db->driver;
    int r;

    buf_init_heap(&sql, 2048);
    buf_init_heap(&mem, LINE_MAX_BYTES);
    page_sql(t, is_first, &sql);
    *ret_rows = 0;
    r = driver->prepare(d->tx->conn->db, NULL, buf_span(&sql), false, &row);
    for (int i = 0; !r && !is_first && i < t->key_columns; i++)
        driver->bind(row, i + 1, &d->key[i]);
    while (!r && (r = driver->step(row)) == DB_ROW) {
        ++*ret_rows;
        r = dump_row(d, t, row, &mem);
        if (!r && *ret_rows == PAGE_ROWS)
            return keep_key(d, t, row);
    }
    return r;
}

static int dump_table(struct dump *d, const struct table *t)
{
    struct json_writer w;
    int r, rows = PAGE_ROWS;

    json_begin(&w, &d->line);
    json_open_object(&w, NULL);
    json_put_text(&w, "table", t->name);
    json_put_text(&w, "columns", t->columns);
    json_close_object(&w);
    r = line_out(d);
    for (bool is_first = true; !r && rows == PAGE_ROWS; is_first = false)
        r = dump_page(d, t, is_first, &rows);
    return r;
}

static int dump_head(struct dump *d, struct store_position *ret_position)
{
    AUTO(stmt_resetp) struct stmt *row = db_bind(d->tx, Q_position_get, "");
    struct json_writer w;
    int r = db_step(d->tx, row);

    if (r != DB_ROW)
        return r ? r : -EUCLEAN;
    *ret_position = (struct store_position){ (uint64_t)column_int(row, 0), (uint64_t)column_int(row, 1) };
    json_begin(&w, &d->line);
    json_open_object(&w, NULL);
    json_put_text(&w, "format", FORMAT);
    json_put_int(&w, "schema", migrations_newest(d->tx->conn->db->driver));
    json_put_int(&w, "epoch", column_int(row, 0));
    json_put_int(&w, "revision", column_int(row, 1));
    json_put_int(&w, "trimmed", column_int(row, 2));
    json_put_int(&w, "at_ms", (int64_t)store_now_ms(d->tx->store));
    json_close_object(&w);
    return line_out(d);
}

static int dump_tail(struct dump *d)
{
    unsigned char digest[SHA256_LEN];

    sha256_run_end(d->digest, digest);
    buf_printf(&d->line, "{\"rows\":%llu,\"sha256\":\"", (unsigned long long)d->rows);
    hex_encode(span_of(digest, sizeof(digest)), &d->line);
    buf_put_str(&d->line, "\"}\n");
    if (buf_error(&d->line))
        return buf_error(&d->line);
    if (fwrite(d->line.data, 1, d->line.len, d->out) != d->line.len || fflush(d->out))
        return errno ? -errno : -EIO;
    return 0;
}

int store_backup(struct store_tx *tx, FILE *out, struct store_backup *ret_backup)
{
    AUTO(dump_deinit) struct dump d = { .out = out, .tx = tx, .digest = sha256_run_new() };
    int r;

    buf_init_heap(&d.line, LINE_MAX_BYTES);
    buf_init_heap(&d.key_mem, 65536);
    errno = 0;
    r = dump_head(&d, &ret_backup->position);
    for (size_t i = 0; !r && i < ARRAY_LEN(tables); i++)
        r = dump_table(&d, &tables[i]);
    if (!r)
        r = dump_tail(&d);
    ret_backup->rows = d.rows;
    return r;
}
