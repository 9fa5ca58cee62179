/* JSON text of exact builtin values, the bytes that orjson gives for them. */
#ifndef PYLOG_ENCODE_H
#define PYLOG_ENCODE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* Bytes that grow: in `stack` first, which is enough for most lines. */
typedef struct {
    char *data;
    size_t length, room;
    char *heap;
    char stack[2048];
} Text;

/* What is left of the bounds on one event. */
typedef struct {
    Py_ssize_t nodes;    /* items of containers, all together */
    Py_ssize_t items;    /* of one container; not used up */
    size_t bytes;        /* of the text; not used up */
    PyObject *dumps;     /* orjson.dumps */
} Budget;

void text_init(Text *text);
void text_free(Text *text);

/* All return 0, or -1 if nothing comes of it: with an exception, or without one where the value is not
 * plain or a bound would be passed.  None of them runs Python code, so no other thread runs meanwhile
 * and containers stand still. */
int text_add(Text *text, const char *data, size_t length);
int text_add_bytes(Text *text, PyObject *bytes);
int encode(Text *text, PyObject *value, int levels, Budget *budget);

/* Whether `encode` may be asked at all. */
int is_plain(PyObject *value);

#endif
