int cap_drop_all(void);
int main(void){ return cap_drop_all(); }
