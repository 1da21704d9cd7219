"""Charts of the web page and of all reports, drawn by Vega-Lite.

In come numbers, out come specifications (`gantt`, `lines`, `bars`) that know nothing of light and
dark or of a screen's width. A browser draws them with `draw.js` and the JavaScript that the Python
package vl-convert brings (`library`), and `page` puts them into HTML; files (SVG, PNG, PDF) are
made by the same package without a browser. Nothing is loaded from elsewhere. Begin with `chart`.
"""
