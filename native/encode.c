#include "encode.h"

#include <string.h>

/* For each byte: 0 to copy it, 1 for \u00xx, else the letter after the backslash. */
static const char ESCAPES[256] = {
    1, 1, 1, 1, 1, 1, 1, 1, 'b', 't', 'n', 1, 'f', 'r', 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    ['"'] = '"', ['\\'] = '\\',
};

void
text_init(Text *text)
{
    text->data = text->stack;
    text->length = 0;
    text->room = sizeof(text->stack);
    text->heap = NULL;
}

void
text_free(Text *text)
{
    PyMem_Free(text->heap);
}

static int
text_grow(Text *text, size_t more)
{
    size_t room = text->room * 2;
    if (room < text->length + more) {
        room = text->length + more;
    }
    char *heap = PyMem_Realloc(text->heap, room);
    if (heap == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    if (text->heap == NULL) {
        memcpy(heap, text->stack, text->length);
    }
    text->data = text->heap = heap;
    text->room = room;
    return 0;
}

int
text_add(Text *text, const char *data, size_t length)
{
    if (text->room - text->length < length && text_grow(text, length) < 0) {
        return -1;
    }
    memcpy(text->data + text->length, data, length);
    text->length += length;
    return 0;
}

int
text_add_bytes(Text *text, PyObject *bytes)
{
    char *data;
    Py_ssize_t length;
    if (PyBytes_AsStringAndSize(bytes, &data, &length) < 0) {
        return -1;
    }
    return text_add(text, data, (size_t)length);
}

static int
encode_str(Text *text, PyObject *value, Budget *budget)
{
    Py_ssize_t size;
    const char *data = PyUnicode_AsUTF8AndSize(value, &size); /* fails on a lone surrogate */
    if (data == NULL || text->length + (size_t)size > budget->bytes) {
        return -1;
    }
    /* Room for the worst case up to a size that is worth nothing else. */
    if (text_add(text, "\"", 1) < 0) {
        return -1;
    }
    const char *end = data + size;
    while (data < end) {
        const char *run = data;
        while (data < end && !ESCAPES[(unsigned char)*data]) {
            data++;
        }
        if (text_add(text, run, (size_t)(data - run)) < 0) {
            return -1;
        }
        if (data < end) {
            unsigned char byte = (unsigned char)*data++;
            char escape[6] = {'\\', ESCAPES[byte], '0', '0', 0, 0};
            size_t length = 2;
            if (escape[1] == 1) {
                escape[1] = 'u';
                escape[4] = "0123456789abcdef"[byte >> 4];
                escape[5] = "0123456789abcdef"[byte & 15];
                length = 6;
            }
            if (text_add(text, escape, length) < 0) {
                return -1;
            }
        }
    }
    return text_add(text, "\"", 1);
}

static int
encode_int(Text *text, PyObject *value)
{
    int overflow;
    long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow) {
        return -1;
    }
    char digits[20];
    char *start = digits + sizeof(digits);
    unsigned long long rest = number < 0 ? 0ULL - (unsigned long long)number : (unsigned long long)number;
    do {
        *--start = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (number < 0) {
        *--start = '-';
    }
    return text_add(text, start, (size_t)(digits + sizeof(digits) - start));
}

static int
encode_float(Text *text, PyObject *value, Budget *budget)
{
    /* The shortest digits that mean the same number are an art of their own: orjson has it. */
    PyObject *digits = PyObject_CallFunctionObjArgs(budget->dumps, value, NULL);
    if (digits == NULL) {
        return -1;
    }
    int result = text_add_bytes(text, digits);
    Py_DECREF(digits);
    return result;
}

static int
enter(Budget *budget, Py_ssize_t size, int levels)
{
    budget->nodes -= size;
    return levels <= 0 || budget->nodes < 0 || size > budget->items ? -1 : 0;
}

static int
encode_array(Text *text, PyObject *value, int is_list, int levels, Budget *budget)
{
    Py_ssize_t size = is_list ? PyList_Size(value) : PyTuple_Size(value);
    if (enter(budget, size, levels) < 0) {
        return -1;
    }
    for (Py_ssize_t index = 0; index < size; index++) {
        PyObject *item = is_list ? PyList_GetItem(value, index) : PyTuple_GetItem(value, index);
        if (item == NULL || text_add(text, index ? "," : "[", 1) < 0 ||
            encode(text, item, levels, budget) < 0) {
            return -1;
        }
    }
    return size ? text_add(text, "]", 1) : text_add(text, "[]", 2);
}

static int
encode_object(Text *text, PyObject *value, int levels, Budget *budget)
{
    PyObject *key, *item;
    Py_ssize_t position = 0;
    if (enter(budget, PyDict_Size(value), levels) < 0) {
        return -1;
    }
    const char *before = "{";
    while (PyDict_Next(value, &position, &key, &item)) {
        if (Py_TYPE(key) != &PyUnicode_Type || text_add(text, before, 1) < 0 ||
            encode_str(text, key, budget) < 0 || text_add(text, ":", 1) < 0 ||
            encode(text, item, levels, budget) < 0) {
            return -1;
        }
        before = ",";
    }
    return *before == ',' ? text_add(text, "}", 1) : text_add(text, "{}", 2);
}

int
is_plain(PyObject *value)
{
    PyTypeObject *type = Py_TYPE(value);
    return type == &PyUnicode_Type || type == &PyLong_Type || type == &PyFloat_Type ||
           type == &PyBool_Type || value == Py_None || type == &PyList_Type ||
           type == &PyDict_Type || type == &PyTuple_Type;
}

int
encode(Text *text, PyObject *value, int levels, Budget *budget)
{
    PyTypeObject *type = Py_TYPE(value);
    if (type == &PyUnicode_Type) {
        return encode_str(text, value, budget);
    }
    if (type == &PyLong_Type) {
        return encode_int(text, value);
    }
    if (type == &PyFloat_Type) {
        return encode_float(text, value, budget);
    }
    if (value == Py_None) {
        return text_add(text, "null", 4);
    }
    if (value == Py_True) {
        return text_add(text, "true", 4);
    }
    if (value == Py_False) {
        return text_add(text, "false", 5);
    }
    if (type == &PyList_Type || type == &PyTuple_Type) {
        return encode_array(text, value, type == &PyList_Type, levels - 1, budget);
    }
    if (type == &PyDict_Type) {
        return encode_object(text, value, levels - 1, budget);
    }
    return -1;
}
