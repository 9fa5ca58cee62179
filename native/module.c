/* pylog_struct._speed: the hot path, compiled.  pylog_struct/fast_lane.py says the same in Python,
 * decides what may take it, and does without this module where nobody could compile it. */
#include "lane.h"

static PyObject *
methods_for(PyObject *module, PyObject *class)
{
    (void)module;
    if (!PyType_Check(class)) {
        PyErr_SetString(PyExc_TypeError, "methods_for(class)");
        return NULL;
    }
    PyObject *found = PyDict_New();
    for (PyMethodDef *method = log_methods; found != NULL && method->ml_name != NULL; method++) {
        PyObject *made = PyDescr_NewMethod((PyTypeObject *)class, method);
        if (made == NULL || PyDict_SetItemString(found, method->ml_name, made) < 0) {
            Py_CLEAR(found);
        }
        Py_XDECREF(made);
    }
    return found;
}

static PyMethodDef functions[] = {
    {"methods_for", methods_for, METH_O,
     "methods_for($module, class, /)\n--\n\nReturn the five methods of a bound logger, by name, for *class*."},
    {NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_speed", "The hot path, compiled.", -1, functions, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC
PyInit__speed(void)
{
    if (lane_prepare() < 0) {
        return NULL;
    }
    PyObject *module = PyModule_Create(&definition);
    PyObject *gate = PyType_FromSpec(&gate_spec);
    if (module == NULL || gate == NULL || PyModule_AddObjectRef(module, "Gate", gate) < 0 ||
        PyModule_AddObjectRef(module, "Lane", (PyObject *)lane_type) < 0) {
        Py_CLEAR(module);
    }
    Py_XDECREF(gate);
    return module;
}
